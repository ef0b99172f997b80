"""Statements on the rows of hand-offs."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from turnwise.core.errors import NotFound
from turnwise.core.handoff_states import HandoffLimits, HandoffStatus
from turnwise.core.handoffs import Handoff, HandoffRequest
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import HEAD
from turnwise.store.sqlite.conversation_rows import insert_messages, meta_to_json, parent_number
from turnwise.store.sqlite.ownership import Condition

_QUERY = """
    SELECT handoffs.number, handoffs.id, conversation, request, handoffs.created, changed, state, claim, agent,
        lease_until, answer_by, num_claims,
        (SELECT MAX(number) FROM handoff_events WHERE handoff = handoffs.number)
    FROM handoffs
"""


class HandoffRow:
    """A hand-off with its row number and that of its conversation."""

    __slots__ = ("conversation", "handoff", "number")

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.number, id, self.conversation, request, created, changed, *status, revision = values
        fields = json.loads(request)
        fields.pop("tenant", None)  # of rows that are older than the owners of conversations
        fields |= {"attempts": tuple(fields["attempts"]), "limits": HandoffLimits(**fields["limits"])}
        self.handoff = Handoff(id, HandoffRequest(**fields), created, changed, HandoffStatus(*status), revision)


def load_handoffs(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[HandoffRow]:
    """The hand-offs that a condition selects; it may end with an order and a limit."""
    return [HandoffRow(row) for row in connection.execute(f"{_QUERY} WHERE {condition}", tuple(values))]


def load_handoff(connection: sqlite3.Connection, id: str, visible: Condition = ("1", ())) -> HandoffRow:
    """A hand-off. Raises `NotFound` if there is none, or if it is not visible."""
    condition, values = visible
    rows = load_handoffs(connection, f"handoffs.id = ? AND {condition}", (id, *values))
    if not rows:
        raise NotFound(f"There is no hand-off '{id[:60]}'; its conversation may have been deleted.")
    return rows[0]


def insert_handoff(connection: sqlite3.Connection, conversation: int, handoff: Handoff) -> int:
    """Insert a hand-off and return its row number."""
    status = handoff.status
    cursor = connection.execute(
        "INSERT INTO handoffs (id, conversation, request, created, changed, state, claim, agent,"
        " lease_until, answer_by, num_claims) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (handoff.id, conversation, meta_to_json(asdict(replace(handoff.request, notice_meta={}))), handoff.created,
         handoff.changed, status.state, status.claim, status.agent, status.lease_until, status.answer_by,
         status.num_claims),
    )  # fmt: skip
    return int(cursor.lastrowid or 0)


def update_status(connection: sqlite3.Connection, number: int, status: HandoffStatus, now: float) -> None:
    """Store a new status. The time of the change never decreases, so a clock that is set back reorders nothing."""
    connection.execute(
        "UPDATE handoffs SET changed = MAX(changed, ?), state = ?, claim = ?, agent = ?, lease_until = ?,"
        " answer_by = ?, num_claims = ? WHERE number = ?",
        (now, status.state, status.claim, status.agent, status.lease_until, status.answer_by, status.num_claims,
         number),
    )  # fmt: skip


def log_event(connection: sqlite3.Connection, handoff: int, kind: str, agent: str, now: float) -> None:
    """Add an event to the log: a new revision."""
    connection.execute(
        "INSERT INTO handoff_events (handoff, time, kind, agent) VALUES (?, ?, ?, ?)", (handoff, now, kind, agent)
    )


def append_messages(
    connection: sqlite3.Connection, conversation: int, messages: Sequence[Message], meta: dict[str, Any]
) -> tuple[str, ...]:
    """Add messages below the last message of a conversation. Returns their ids."""
    return insert_messages(
        connection, conversation, parent_number(connection, conversation, HEAD), messages, meta_to_json(meta)
    )
