"""Hand-offs in SQLite, in the database of the conversations. A transition and its messages are one transaction."""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Any

from turnwise.core.errors import NotFound
from turnwise.core.handoff_states import (
    HandoffEvent,
    HandoffEventKind,
    HandoffLimits,
    HandoffState,
    HandoffStatus,
    apply_event,
    due_events,
    open_status,
)
from turnwise.core.handoffs import NOTICE_META, PERSON_META, Handoff, HandoffRequest, HandoffStore
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import HEAD
from turnwise.store.sqlite.conversation_rows import conversation_number, insert_messages, meta_to_json, parent_number

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

_QUERY = """
    SELECT handoffs.number, handoffs.id, conversation, request, handoffs.created, changed, state, claim, agent,
        lease_until, answer_by, num_claims,
        (SELECT MAX(number) FROM handoff_events WHERE handoff = handoffs.number)
    FROM handoffs
"""
_IS_DUE = "state IN ('waiting', 'claimed') AND (lease_until <= ?1 OR answer_by <= ?1)"


class SqliteHandoffStore:
    """The `HandoffStore` port on the transactions of a `SqliteDatabase`."""

    def __init__(
        self,
        read_transaction: Transaction,
        write_transaction: Transaction,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._read_transaction, self._write_transaction = read_transaction, write_transaction
        self._clock = clock

    def open(self, request: HandoffRequest) -> Handoff:
        """Open a hand-off, or return the open one."""
        with self._write_transaction() as connection:
            conversation = conversation_number(connection, request.conversation_id)
            newest = self._newest(connection, conversation)
            _check_tenant(newest, request.conversation_id, request.tenant)
            if newest is not None and newest.is_open:
                return newest
            now = self._clock() if newest is None else max(self._clock(), newest.changed)
            status, id = open_status(now, request.limits), f"handoff_{secrets.token_hex(12)}"
            stored_request = meta_to_json(asdict(replace(request, notice_meta={})))
            cursor = connection.execute(
                "INSERT INTO handoffs (id, conversation, tenant, request, created, changed, state, claim, agent,"
                " lease_until, answer_by, num_claims) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (id, conversation, request.tenant, stored_request, now, now, status.state, status.claim,
                 status.agent, status.lease_until, status.answer_by, status.num_claims),
            )  # fmt: skip
            _log_event(connection, int(cursor.lastrowid or 0), "open", "", now)
            if notice := request.notices.get("open"):
                meta = {**request.notice_meta, NOTICE_META: "open", "handoff": id}
                _append(connection, conversation, [Message("assistant", notice)], meta)
            return _row(connection, id).handoff

    def get(self, id: str) -> Handoff:
        """A hand-off."""
        self._apply_due()
        with self._read_transaction() as connection:
            return _row(connection, id).handoff

    def current(self, conversation_id: str, tenant: str) -> Handoff | None:
        """The newest hand-off of a conversation."""
        self._apply_due()
        with self._read_transaction() as connection:
            rows = _load(
                connection, "conversation = ? ORDER BY handoffs.number DESC LIMIT 1",
                (conversation_number(connection, conversation_id),),
            )  # fmt: skip
        newest = rows[0].handoff if rows else None
        _check_tenant(newest, conversation_id, tenant)
        return newest

    def list(self, states: Sequence[HandoffState], *, limit: int) -> list[Handoff]:
        """Hand-offs in these states, oldest first."""
        self._apply_due()
        marks = ", ".join("?" * len(states))
        with self._read_transaction() as connection:
            rows = _load(connection, f"state IN ({marks}) ORDER BY handoffs.number LIMIT ?", (*states, limit))
        return [row.handoff for row in rows]

    def revision(self) -> int:
        """Changes with every event."""
        self._apply_due()
        with self._read_transaction() as connection:
            (revision,) = connection.execute("SELECT IFNULL(MAX(number), 0) FROM handoff_events").fetchone()
        return int(revision)

    def apply(self, id: str, kind: HandoffEventKind, *, claim: str = "", agent: str = "") -> Handoff:
        """Apply an event."""
        self._apply_due()  # in a transaction of its own: it stays if this event is a conflict
        with self._write_transaction() as connection:
            row = _row(connection, id)
            return self._apply(connection, row, HandoffEvent(kind, self._now(row.handoff), claim, agent)).handoff

    def send(self, id: str, claim: str, text: str) -> Handoff:
        """Add a message of the person who has the claim."""
        self._apply_due()
        with self._write_transaction() as connection:
            row = _row(connection, id)
            event = HandoffEvent("agent_message", self._now(row.handoff), claim)
            row = self._apply(connection, row, event)
            meta = {PERSON_META: row.handoff.status.agent, "handoff": id}
            _append(connection, row.conversation, [Message("assistant", text)], meta)
            return row.handoff

    def receive(self, conversation_id: str, tenant: str, messages: Sequence[Message]) -> Handoff | None:
        """Add messages of the customer, if a hand-off is open."""
        with self._write_transaction() as connection:
            conversation = conversation_number(connection, conversation_id)
            newest = self._newest(connection, conversation)
            _check_tenant(newest, conversation_id, tenant)
            if newest is None or not newest.is_open:
                return None
            row = _row(connection, newest.id)
            row = self._apply(connection, row, HandoffEvent("customer_message", self._now(newest)))
            _append(connection, conversation, messages, {"handoff": newest.id})
            return row.handoff

    def say(
        self, conversation_id: str, tenant: str, message: Message, meta: Mapping[str, Any], *, parent_id: str | None
    ) -> str:
        """Add a message of the service; an event if a hand-off is open."""
        with self._write_transaction() as connection:
            conversation = conversation_number(connection, conversation_id)
            newest = self._newest(connection, conversation)
            _check_tenant(newest, conversation_id, tenant)
            if newest is None or not newest.is_open:
                parent = parent_number(connection, conversation, parent_id)
                return insert_messages(connection, conversation, parent, [message], meta_to_json(meta))[0]
            row = _row(connection, newest.id)
            self._apply(connection, row, HandoffEvent("service_message", self._now(newest)))
            return _append(connection, conversation, [message], {**meta, "handoff": newest.id})[0]

    def _now(self, handoff: Handoff) -> float:
        """The time of a new event. It never decreases, so a clock that is set back reorders nothing."""
        return max(self._clock(), handoff.changed)

    def _newest(self, connection: sqlite3.Connection, conversation: int) -> Handoff | None:
        """The newest hand-off of a conversation, with the events that are due."""
        rows = _load(connection, "conversation = ? ORDER BY handoffs.number DESC LIMIT 1", (conversation,))
        return self._apply_all_due(connection, rows[0]).handoff if rows else None

    def _apply_due(self) -> None:
        """Apply the events that are due, of all hand-offs. Writes only if there are any."""
        now = self._clock()
        with self._read_transaction() as connection:
            if connection.execute(f"SELECT 1 FROM handoffs WHERE {_IS_DUE} LIMIT 1", (now,)).fetchone() is None:  # noqa: S608
                return
        with self._write_transaction() as connection:
            for row in _load(connection, _IS_DUE, (now,)):
                self._apply_all_due(connection, row)

    def _apply_all_due(self, connection: sqlite3.Connection, row: "_Row") -> "_Row":
        for event in due_events(row.handoff.status, self._now(row.handoff), row.handoff.request.limits):
            row = self._apply(connection, row, event)
        return row

    def _apply(self, connection: sqlite3.Connection, row: "_Row", event: HandoffEvent) -> "_Row":
        """Apply one event, log it, and add its notice to the conversation. Renewals are not logged."""
        status = apply_event(row.handoff.status, event, row.handoff.request.limits)
        connection.execute(
            "UPDATE handoffs SET changed = MAX(changed, ?), state = ?, claim = ?, agent = ?, lease_until = ?,"
            " answer_by = ?, num_claims = ? WHERE number = ?",
            (event.time, status.state, status.claim, status.agent, status.lease_until, status.answer_by,
             status.num_claims, row.number),
        )  # fmt: skip
        if event.kind != "renew":
            _log_event(connection, row.number, event.kind, event.agent, event.time)
        has_changed = status.state != row.handoff.state
        if has_changed and (notice := row.handoff.request.notices.get(event.kind)):
            message = Message("assistant", notice.replace("{agent}", status.agent))
            _append(connection, row.conversation, [message], {NOTICE_META: event.kind, "handoff": row.handoff.id})
        return _row(connection, row.handoff.id)


class _Row:
    """A hand-off with its row number and that of its conversation."""

    __slots__ = ("conversation", "handoff", "number")

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.number, id, self.conversation, request, created, changed, *status, revision = values
        fields = json.loads(request)
        fields |= {"attempts": tuple(fields["attempts"]), "limits": HandoffLimits(**fields["limits"])}
        self.handoff = Handoff(id, HandoffRequest(**fields), created, changed, HandoffStatus(*status), revision)


def _load(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[_Row]:
    return [_Row(row) for row in connection.execute(f"{_QUERY} WHERE {condition}", tuple(values))]


def _row(connection: sqlite3.Connection, id: str) -> _Row:
    rows = _load(connection, "handoffs.id = ?", (id,))
    if not rows:
        raise NotFound(f"There is no hand-off '{id[:60]}'; its conversation may have been deleted.")
    return rows[0]


def _check_tenant(handoff: Handoff | None, conversation_id: str, tenant: str) -> None:
    if handoff is not None and handoff.request.tenant != tenant:
        raise NotFound(f"There is no conversation '{conversation_id[:60]}'; it may have been deleted.")


def _log_event(connection: sqlite3.Connection, handoff: int, kind: str, agent: str, now: float) -> None:
    connection.execute(
        "INSERT INTO handoff_events (handoff, time, kind, agent) VALUES (?, ?, ?, ?)", (handoff, now, kind, agent)
    )


def _append(
    connection: sqlite3.Connection, conversation: int, messages: Sequence[Message], meta: dict[str, Any]
) -> tuple[str, ...]:
    return insert_messages(
        connection, conversation, parent_number(connection, conversation, HEAD), messages, meta_to_json(meta)
    )


_: type[HandoffStore] = SqliteHandoffStore  # the type checker compares it with the port
