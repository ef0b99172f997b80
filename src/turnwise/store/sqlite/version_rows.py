"""Statements on the rows of model versions and of their events."""

import json
import sqlite3
from typing import Any

from turnwise.core.errors import InvalidData
from turnwise.core.model_versions import Actor, ModelVersion, NewVersion, VersionEvent
from turnwise.core.version_rules import StateChange

_VERSION_QUERY = """
    SELECT model, number, created, state, share, is_erased, source, weights_sha256, parent, recipe, data_sha256,
        contributors, scorecard, has_passed_gate
    FROM model_versions
"""
_EVENT_QUERY = "SELECT number, time, model, version, previous, state, share, actor, reason FROM version_events"


def load_versions(connection: sqlite3.Connection, model: str) -> list[ModelVersion]:
    """All versions of a model, oldest first."""
    rows = connection.execute(f"{_VERSION_QUERY} WHERE model = ? ORDER BY number", (model,))
    return [_to_version(*row) for row in rows]


def load_events(connection: sqlite3.Connection, model: str | None, after: int = 0) -> list[VersionEvent]:
    """Events with a number above `after`, of a model or of all models, oldest first."""
    condition, values = ("", ()) if model is None else ("AND model = ?", (model,))
    rows = connection.execute(f"{_EVENT_QUERY} WHERE number > ? {condition} ORDER BY number", (after, *values))
    return [VersionEvent(*row) for row in rows]


def insert_version(connection: sqlite3.Connection, version: ModelVersion) -> None:
    """Insert a version."""
    content = version.content
    connection.execute(
        "INSERT INTO model_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (content.model, version.number, version.created, version.state, version.share, version.is_erased,
         content.source, content.weights_sha256, content.parent, content.recipe, to_json(content.data_sha256),
         to_json(content.contributors), to_json(content.scorecard), content.has_passed_gate),
    )  # fmt: skip


def apply_change(
    connection: sqlite3.Connection, model: str, change: StateChange, *, time: float, actor: Actor, reason: str
) -> None:
    """Store a change of state with its event."""
    connection.execute(
        "UPDATE model_versions SET state = ?, share = ? WHERE model = ? AND number = ?",
        (change.state, change.share, model, change.number),
    )
    insert_event(
        connection, VersionEvent(0, time, model, change.number, change.previous, change.state, change.share, actor,
                                 reason)
    )  # fmt: skip


def insert_event(connection: sqlite3.Connection, event: VersionEvent) -> None:
    """Append an event; its number is assigned."""
    connection.execute(
        "INSERT INTO version_events (time, model, version, previous, state, share, actor, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (event.time, event.model, event.version, event.previous, event.state, event.share, event.actor, event.reason),
    )


def last_revision(connection: sqlite3.Connection) -> int:
    """Number of the last event; 0 if there is none."""
    (revision,) = connection.execute("SELECT IFNULL(MAX(number), 0) FROM version_events").fetchone()
    return int(revision)


def last_event_time(connection: sqlite3.Connection) -> float:
    """Unix time of the last event; 0 if there is none."""
    row = connection.execute("SELECT time FROM version_events ORDER BY number DESC LIMIT 1").fetchone()
    return 0.0 if row is None else float(row[0])


def serving_number_at(connection: sqlite3.Connection, model: str, time: float) -> int | None:
    """Number of the version that served at a time; None if there was none."""
    row = connection.execute(
        "SELECT version, number FROM version_events WHERE model = ? AND state = 'serving' AND time <= ?"
        " ORDER BY time DESC, number DESC LIMIT 1",
        (model, time),
    ).fetchone()
    if row is None:
        return None
    end = connection.execute(  # the last version of a model may be retired without a successor
        "SELECT 1 FROM version_events WHERE model = ? AND number > ? AND time <= ? AND version = ?"
        " AND previous = 'serving'",
        (model, row[1], time, row[0]),
    ).fetchone()
    return None if end is not None else int(row[0])


def to_json(value: Any) -> str:
    """A value as JSON. Raises `InvalidData` for a number that is not finite, or a value that JSON lacks."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=dict)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"The record of a model version cannot be stored as JSON: {error}.") from error


def _to_version(model: str, number: int, created: float, *values: Any) -> ModelVersion:
    state, share, is_erased, source, digest, parent, recipe, data, contributors, scorecard, has_passed_gate = values
    content = NewVersion(
        model=model,
        source=source,
        weights_sha256=digest,
        parent=parent,
        recipe=recipe,
        data_sha256=json.loads(data),
        contributors=tuple(json.loads(contributors)),
        scorecard=json.loads(scorecard),
        has_passed_gate=bool(has_passed_gate),
    )
    return ModelVersion(number, created, state, content, share, bool(is_erased))
