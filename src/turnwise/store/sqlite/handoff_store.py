"""Hand-offs in SQLite, in the database of the conversations. A transition and its messages are one transaction.

Deadlines are Unix times, and the clock of a machine can be set. No customer is lost by that: a clock that is set back
moves deadlines along (`clamp_deadlines`), and after a step forward everybody has the complete time again
(`extend_deadlines`). Times of events never decrease.
"""

import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from turnwise.core.access import Principal
from turnwise.core.errors import NotFound
from turnwise.core.handoff_states import (
    HandoffEvent,
    HandoffEventKind,
    HandoffLimits,
    HandoffState,
    HandoffStatus,
    apply_event,
    clamp_deadlines,
    due_events,
    extend_deadlines,
    open_status,
)
from turnwise.core.handoffs import NOTICE_META, PERSON_META, Handoff, HandoffRequest, HandoffStore
from turnwise.core.messages import Message
from turnwise.core.stored_messages import StoredMessage
from turnwise.core.wall_clock import WallClock
from turnwise.store.sqlite.conversation_rows import conversation_number, insert_messages, meta_to_json, parent_number
from turnwise.store.sqlite.handoff_rows import (
    HandoffRow,
    append_messages,
    insert_handoff,
    load_handoff,
    load_handoffs,
    log_event,
    update_status,
)
from turnwise.store.sqlite.message_tree import MessageTree
from turnwise.store.sqlite.ownership import own_handoffs, visible_handoffs

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

_IS_OPEN = "state IN ('waiting', 'claimed')"
# Without a clock that was set back, no deadline needs to be moved: they are set at `changed` at the latest.
_MAY_NEED_UPDATE = f"{_IS_OPEN} AND (lease_until <= ?1 OR answer_by <= ?1 OR changed > ?1)"


class SqliteHandoffStore:
    """The `HandoffStore` port on the transactions of a `SqliteDatabase`."""

    def __init__(
        self, read_transaction: Transaction, write_transaction: Transaction, principal: Principal, clock: WallClock
    ) -> None:
        self._read_transaction, self._write_transaction = read_transaction, write_transaction
        self._principal, self._clock = principal, clock

    def open(self, request: HandoffRequest) -> Handoff:
        """Open a hand-off, or return the open one."""
        self._apply_due()
        with self._write_transaction() as connection:
            conversation = conversation_number(connection, request.conversation_id, self._principal)
            now = self._clock.now()
            newest = self._newest(connection, conversation, now)
            if newest is not None and newest.handoff.is_open:
                return newest.handoff
            created = now if newest is None else max(now, newest.handoff.changed)
            id = f"handoff_{secrets.token_hex(12)}"
            handoff = Handoff(id, request, created, created, open_status(now, request.limits), 0)
            log_event(connection, insert_handoff(connection, conversation, handoff), "open", "", created)
            if notice := request.notices.get("open"):
                meta = {**request.notice_meta, NOTICE_META: "open", "handoff": id}
                append_messages(connection, conversation, [Message("assistant", notice)], meta)
            return load_handoff(connection, id).handoff

    def get(self, id: str) -> Handoff:
        """A hand-off."""
        self._apply_due()
        with self._read_transaction() as connection:
            return load_handoff(connection, id, visible_handoffs(self._principal)).handoff

    def messages(self, id: str) -> tuple[StoredMessage, ...]:
        """The current branch of the conversation of a hand-off."""
        with self._read_transaction() as connection:
            row = load_handoff(connection, id, visible_handoffs(self._principal))
            tree = MessageTree.load(connection, row.conversation)
        return tree.with_siblings(tree.branch(tree.head))

    def current(self, conversation_id: str) -> Handoff | None:
        """The newest hand-off of a conversation."""
        self._apply_due()
        with self._read_transaction() as connection:
            conversation = conversation_number(connection, conversation_id, self._principal)
            row = _load_newest(connection, conversation)
        return None if row is None else row.handoff

    def list(self, states: Sequence[HandoffState], *, limit: int) -> list[Handoff]:
        """Hand-offs in these states, oldest first."""
        self._apply_due()
        marks = ", ".join("?" * len(states))
        condition, values = visible_handoffs(self._principal)
        with self._read_transaction() as connection:
            rows = load_handoffs(
                connection, f"state IN ({marks}) AND {condition} ORDER BY handoffs.number LIMIT ?",
                (*states, *values, limit),
            )  # fmt: skip
        return [row.handoff for row in rows]

    def revision(self, id: str | None = None) -> int:
        """Changes with every event."""
        self._apply_due()
        condition, values = visible_handoffs(self._principal)
        with self._read_transaction() as connection:
            if id is None:
                (revision,) = connection.execute("SELECT IFNULL(MAX(number), 0) FROM handoff_events").fetchone()
                return int(revision)
            (revision,) = connection.execute(
                "SELECT MAX(number) FROM handoff_events WHERE handoff ="  # noqa: S608
                f" (SELECT number FROM handoffs WHERE id = ? AND {condition})",
                (id, *values),
            ).fetchone()
        if revision is None:
            raise NotFound(f"There is no hand-off '{id[:60]}'; its conversation may have been deleted.")
        return int(revision)

    def current_revision(self, conversation_id: str) -> int:
        """The revision of the newest hand-off of a conversation."""
        self._apply_due()
        with self._read_transaction() as connection:
            conversation = conversation_number(connection, conversation_id, self._principal)
            (revision,) = connection.execute(
                "SELECT IFNULL(MAX(number), 0) FROM handoff_events WHERE handoff ="
                " (SELECT MAX(number) FROM handoffs WHERE conversation = ?)",
                (conversation,),
            ).fetchone()
        return int(revision)

    def apply(self, id: str, kind: HandoffEventKind, *, claim: str = "", agent: str = "") -> Handoff:
        """Apply an event."""
        self._apply_due()  # in a transaction of its own: it stays if this event is a conflict
        with self._write_transaction() as connection:
            row = self._load_to_change(connection, id, kind)
            return _apply(connection, row, HandoffEvent(kind, self._clock.now(), claim, agent)).handoff

    def send(self, id: str, claim: str, text: str) -> Handoff:
        """Add a message of the person who has the claim."""
        self._apply_due()
        with self._write_transaction() as connection:
            row = self._load_to_change(connection, id, "agent_message")
            row = _apply(connection, row, HandoffEvent("agent_message", self._clock.now(), claim))
            meta = {PERSON_META: row.handoff.status.agent, "handoff": id}
            append_messages(connection, row.conversation, [Message("assistant", text)], meta)
            return row.handoff

    def receive(self, conversation_id: str, messages: Sequence[Message]) -> Handoff | None:
        """Add messages of the customer, if a hand-off is open."""
        self._apply_due()
        with self._write_transaction() as connection:
            conversation = conversation_number(connection, conversation_id, self._principal)
            now = self._clock.now()
            row = self._newest(connection, conversation, now)
            if row is None or not row.handoff.is_open:
                return None
            row = _apply(connection, row, HandoffEvent("customer_message", now))
            append_messages(connection, conversation, messages, {"handoff": row.handoff.id})
            return row.handoff

    def say(self, conversation_id: str, message: Message, meta: Mapping[str, Any], *, parent_id: str | None) -> str:
        """Add a message of the service; an event if a hand-off is open."""
        self._apply_due()
        with self._write_transaction() as connection:
            conversation = conversation_number(connection, conversation_id, self._principal)
            now = self._clock.now()
            row = self._newest(connection, conversation, now)
            if row is None or not row.handoff.is_open:
                parent = parent_number(connection, conversation, parent_id)
                return insert_messages(connection, conversation, parent, [message], meta_to_json(meta))[0]
            row = _apply(connection, row, HandoffEvent("service_message", now))
            return append_messages(connection, conversation, [message], {**meta, "handoff": row.handoff.id})[0]

    def _load_to_change(self, connection: sqlite3.Connection, id: str, kind: HandoffEventKind) -> HandoffRow:
        """A hand-off to which the principal may apply an event. Raises `NotFound`."""
        if kind == "cancel":
            return load_handoff(connection, id, own_handoffs(self._principal))
        return load_handoff(connection, id, ("1" if self._principal.answers_handoffs else "0", ()))

    def _newest(self, connection: sqlite3.Connection, conversation: int, now: float) -> HandoffRow | None:
        """The newest hand-off of a conversation, with the events that are due."""
        row = _load_newest(connection, conversation)
        return None if row is None else _update(connection, row, clamp_deadlines, now)

    def _apply_due(self) -> None:
        """Apply the events that are due, of all hand-offs, and mend deadlines. Writes only if there are any."""
        now, step = self._clock.now(), self._clock.unhandled_step
        with self._read_transaction() as connection:
            rows = load_handoffs(connection, _MAY_NEED_UPDATE, (now,))
        if not step and not any(_needs_update(row, now) for row in rows):
            return
        with self._write_transaction() as connection:
            condition, values = (_IS_OPEN, ()) if step else (_MAY_NEED_UPDATE, (now,))
            for row in load_handoffs(connection, condition, values):
                _update(connection, row, extend_deadlines if step else clamp_deadlines, now)
        self._clock.mark_handled(step)


def _load_newest(connection: sqlite3.Connection, conversation: int) -> HandoffRow | None:
    rows = load_handoffs(connection, "conversation = ? ORDER BY handoffs.number DESC LIMIT 1", (conversation,))
    return rows[0] if rows else None


def _needs_update(row: HandoffRow, now: float) -> bool:
    status, limits = row.handoff.status, row.handoff.request.limits
    clamped = clamp_deadlines(status, now, limits)
    return clamped != status or bool(due_events(clamped, now, limits))


def _update(
    connection: sqlite3.Connection,
    row: HandoffRow,
    mend: Callable[[HandoffStatus, float, HandoffLimits], HandoffStatus],
    now: float,
) -> HandoffRow:
    """Mend the deadlines of a hand-off, and apply the events that are due."""
    limits = row.handoff.request.limits
    status = mend(row.handoff.status, now, limits)
    if status != row.handoff.status:
        update_status(connection, row.number, status, now)
        row = load_handoff(connection, row.handoff.id)
    for event in due_events(status, now, limits):
        row = _apply(connection, row, event)
    return row


def _apply(connection: sqlite3.Connection, row: HandoffRow, event: HandoffEvent) -> HandoffRow:
    """Apply one event, log it, and add its notice to the conversation. Renewals are not logged."""
    handoff = row.handoff
    status = apply_event(handoff.status, event, handoff.request.limits)
    update_status(connection, row.number, status, event.time)
    if event.kind != "renew":
        log_event(connection, row.number, event.kind, event.agent, max(event.time, handoff.changed))
    has_changed = status.state != handoff.state
    if has_changed and (notice := handoff.request.notices.get(event.kind)):
        message = Message("assistant", notice.replace("{agent}", status.agent))
        append_messages(connection, row.conversation, [message], {NOTICE_META: event.kind, "handoff": handoff.id})
    return load_handoff(connection, handoff.id)


_: type[HandoffStore] = SqliteHandoffStore  # the type checker compares it with the port
