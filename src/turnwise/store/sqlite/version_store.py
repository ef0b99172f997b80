"""The registry of model versions in SQLite. A change of state, its events and its consequences are one transaction."""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from turnwise.core.errors import NotFound, VersionConflict
from turnwise.core.model_versions import (
    Actor,
    ModelRegistry,
    ModelVersion,
    NewVersion,
    VersionEvent,
    VersionOutcomes,
    VersionRouting,
    VersionState,
)
from turnwise.core.version_rules import (
    StateChange,
    changes_routing,
    check_new_version,
    check_reason,
    find_version,
    plan_change,
    plan_erasure,
    plan_rollback,
)
from turnwise.store.sqlite.database import SqliteDatabase
from turnwise.store.sqlite.version_rows import (
    apply_change,
    insert_event,
    insert_version,
    last_event_time,
    last_revision,
    load_events,
    load_versions,
    serving_number_at,
    to_json,
)


class SqliteModelRegistry:
    """The `ModelRegistry` port on SQLite. Thread-safe; several processes may use the file."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        """Open `path`; None: a registry in memory. Raises `UserError` if the file is not a registry.

        Args:
            path: the file, created if it is missing.
            clock: returns the Unix time in seconds.
        """
        self._database = SqliteDatabase(path, "registry of model versions", "TURNWISE_HOME")
        self._clock = clock

    def add(self, version: NewVersion, *, reason: str, actor: Actor = "person") -> ModelVersion:
        """Add a version as a candidate. It serves at once if no version of the model serves, as the first one does."""
        check_reason(reason)
        with self._database.write_transaction() as connection:
            versions = load_versions(connection, version.model)
            check_new_version(version, versions)
            has_serving = any(version.state == "serving" for version in versions)
            state: VersionState = "candidate" if has_serving else "serving"
            number = versions[-1].number + 1 if versions else 1
            created = self._event_time(connection)
            added = ModelVersion(number, created, state, version)
            insert_version(connection, added)
            insert_event(connection, VersionEvent(0, created, version.model, number, None, state, 0.0, actor, reason))
            return added

    def get(self, model: str, number: int) -> ModelVersion:
        """A version."""
        return find_version(model, self.list(model), number)

    def list(self, model: str) -> Sequence[ModelVersion]:
        """All versions of a model, oldest first; empty for an unknown model."""
        with self._database.read_transaction() as connection:
            return load_versions(connection, model)

    def models(self) -> Sequence[str]:
        """Names of the models that have versions, in alphabetical order."""
        with self._database.read_transaction() as connection:
            rows = connection.execute("SELECT DISTINCT model FROM model_versions ORDER BY model").fetchall()
        return [model for (model,) in rows]

    def change_state(
        self, model: str, number: int, state: VersionState, *, actor: Actor, reason: str, share: float = 0.0
    ) -> ModelVersion:
        """Change the state of a version. In the same transaction, the version that had the state before is retired."""
        check_reason(reason)
        with self._database.write_transaction() as connection:
            versions = load_versions(connection, model)
            version = find_version(model, versions, number)
            changes = plan_change(versions, version, state, actor=actor, share=share)
            self._apply(connection, model, changes, actor, reason)
            return find_version(model, load_versions(connection, model), number)

    def roll_back(self, model: str, *, actor: Actor, reason: str) -> ModelVersion:
        """Let the version serve again that served before the present one, and return it."""
        check_reason(reason)
        with self._database.write_transaction() as connection:
            versions = load_versions(connection, model)
            if not versions:
                raise _no_versions(model)
            changes = plan_rollback(versions, load_events(connection, model), actor=actor)
            self._apply(connection, model, changes, actor, reason)
            return find_version(model, load_versions(connection, model), changes[-1].number)

    def set_scorecard(self, model: str, number: int, scorecard: Mapping[str, Any], *, has_passed_gate: bool) -> None:
        """Replace the figures of the evaluation of a version."""
        with self._database.write_transaction() as connection:
            find_version(model, load_versions(connection, model), number)
            connection.execute(
                "UPDATE model_versions SET scorecard = ?, has_passed_gate = ? WHERE model = ? AND number = ?",
                (to_json(scorecard), has_passed_gate, model, number),
            )

    def mark_erased(self, model: str, number: int, *, reason: str) -> ModelVersion:
        """Retire a version whose weights are deleted. Marking it again changes nothing."""
        check_reason(reason)
        with self._database.write_transaction() as connection:
            versions = load_versions(connection, model)
            version = find_version(model, versions, number)
            if version.is_erased:
                return version
            changes = plan_erasure(versions, load_events(connection, model), version)
            self._apply(connection, model, changes, "person", reason)
            connection.execute(
                "UPDATE model_versions SET is_erased = 1 WHERE model = ? AND number = ?", (model, number)
            )
            return find_version(model, load_versions(connection, model), number)

    def forget_contributors(self, model: str, number: int) -> None:
        """Remove the ids of people from the record of a version whose weights are deleted, also from the file."""
        with self._database.write_transaction() as connection:
            version = find_version(model, load_versions(connection, model), number)
            if not version.is_erased:
                raise VersionConflict(f"{version.reference} has weights that were trained on these people's data.")
            connection.execute(
                "UPDATE model_versions SET contributors = '[]' WHERE model = ? AND number = ?", (model, number)
            )
        self._database.truncate_log()

    def routing(self, model: str) -> VersionRouting | None:
        """Which versions answer now; None if no version of the model serves."""
        with self._database.read_transaction() as connection:
            # First the revision: if another process writes in between, the versions are newer, and polling finds out.
            revision = last_revision(connection)
            by_state = {version.state: version for version in load_versions(connection, model)}
        if "serving" not in by_state:
            return None
        return VersionRouting(revision, by_state["serving"], by_state.get("canary"), by_state.get("shadow"))

    def serving_at(self, model: str, time: float) -> ModelVersion | None:
        """The version that served at a time; None if there was none."""
        with self._database.read_transaction() as connection:
            number = serving_number_at(connection, model, time)
            return None if number is None else find_version(model, load_versions(connection, model), number)

    def events(self, model: str | None = None, *, after: int = 0) -> Sequence[VersionEvent]:
        """Changes of states with a number above `after`, oldest first."""
        with self._database.read_transaction() as connection:
            return load_events(connection, model, after)

    def revision(self) -> int:
        """Number of the last event; 0 if there is none."""
        with self._database.read_transaction() as connection:
            return last_revision(connection)

    def record_outcomes(self, model: str, outcomes: Mapping[int, VersionOutcomes]) -> None:
        """Add to the counts of versions, since the last change of the routing of the model."""
        with self._database.write_transaction() as connection:
            versions = load_versions(connection, model)
            for number, counts in outcomes.items():
                find_version(model, versions, number)
                connection.execute(
                    "INSERT INTO version_outcomes VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " answers = answers + excluded.answers, errors = errors + excluded.errors,"
                    " slow = slow + excluded.slow, rated = rated + excluded.rated,"
                    " disliked = disliked + excluded.disliked",
                    (model, number, *astuple(counts)),
                )

    def outcomes(self, model: str) -> Mapping[int, VersionOutcomes]:
        """Counts by version since the last change of the routing."""
        with self._database.read_transaction() as connection:
            rows = connection.execute(
                "SELECT version, answers, errors, slow, rated, disliked FROM version_outcomes WHERE model = ?"
                " ORDER BY version",
                (model,),
            ).fetchall()
        return {number: VersionOutcomes(*counts) for number, *counts in rows}

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _apply(
        self,
        connection: sqlite3.Connection,
        model: str,
        changes: Sequence[StateChange],
        actor: Actor,
        reason: str,
    ) -> None:
        """Store changes with their events, and reset the counts if other versions answer afterwards."""
        time = self._event_time(connection)
        for change in changes:
            apply_change(connection, model, change, time=time, actor=actor, reason=change.reason or reason)
        if any(map(changes_routing, changes)):
            connection.execute("DELETE FROM version_outcomes WHERE model = ?", (model,))

    def _event_time(self, connection: sqlite3.Connection) -> float:
        """Unix time of a new event. Times never decrease, also if the clock is set back."""
        return max(self._clock(), last_event_time(connection))


def _no_versions(model: str) -> NotFound:
    return NotFound(f"{model[:60]} has no versions. `turnwise models versions` lists the models that have some.")


_: type[ModelRegistry] = SqliteModelRegistry  # the type checker compares it with the port
