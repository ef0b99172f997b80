"""Events to deliver in SQLite, in the database of the text monitor."""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from typing import Any

from turnwise.core.webhook_deliveries import LONGEST_RETRY_SECONDS, Delivery, DeliveryState, WebhookEvent

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

_COLUMNS = "number, event, url, body, created, state, attempts, first_attempt, next_attempt, error"


class SqliteOutbox:
    """The deliveries of the `MonitorStore` port on the transactions of a `SqliteDatabase`."""

    def __init__(self, read_transaction: Transaction, write_transaction: Transaction) -> None:
        self._read_transaction, self._write_transaction = read_transaction, write_transaction

    def due_deliveries(self, now: float, limit: int, *, skipped_urls: Collection[str] = ()) -> list[Delivery]:
        """Pending deliveries whose next attempt is due at `now`, oldest first."""
        with self._read_transaction() as connection:
            query = (
                f"SELECT {_COLUMNS} FROM monitor_outbox WHERE state = 'pending'"  # noqa: S608
                " AND (next_attempt <= ? OR next_attempt > ?) AND url NOT IN (SELECT value FROM json_each(?))"
                " ORDER BY number LIMIT ?"
            )
            values = (now, now + LONGEST_RETRY_SECONDS, json.dumps([*skipped_urls]), limit)
            return [_delivery(row) for row in connection.execute(query, values)]

    def update_delivery(self, delivery: Delivery) -> None:
        """Replace the state of a delivery by that of `delivery`, which has the same number."""
        with self._write_transaction() as connection:
            connection.execute(
                "UPDATE monitor_outbox SET state = ?, attempts = ?, first_attempt = ?, next_attempt = ?, error = ?"
                " WHERE number = ?",
                (
                    delivery.state, delivery.attempts, delivery.first_attempt, delivery.next_attempt, delivery.error,
                    delivery.number,
                ),
            )  # fmt: skip

    def deliveries(self, state: DeliveryState) -> list[Delivery]:
        """All deliveries in a state, oldest first."""
        with self._read_transaction() as connection:
            query = f"SELECT {_COLUMNS} FROM monitor_outbox WHERE state = ? ORDER BY number"  # noqa: S608
            return [_delivery(row) for row in connection.execute(query, (state,))]

    def resend(self, event_id: str | None, now: float) -> int:
        """Make dead deliveries pending again: those of one event, or all. Returns their number."""
        with self._write_transaction() as connection:
            cursor = connection.execute(
                "UPDATE monitor_outbox SET state = 'pending', attempts = 0, first_attempt = NULL, next_attempt = ?"
                " WHERE state = 'dead' AND (? IS NULL OR event = ?)",
                (now, event_id, event_id),
            )
            return cursor.rowcount


def add_events(connection: sqlite3.Connection, events: Iterable[WebhookEvent]) -> None:
    """Add events in a transaction of the caller. An event that is stored for the same URL is ignored."""
    connection.executemany(
        "INSERT INTO monitor_outbox (event, url, body, created, state, attempts, next_attempt, error)"
        " VALUES (?, ?, ?, ?, 'pending', 0, ?, '') ON CONFLICT (event, url) DO NOTHING",
        [(event.id, event.url, event.body, event.created, event.created) for event in events],
    )


def _delivery(row: tuple[Any, ...]) -> Delivery:
    number, id, url, body, created, *delivery = row
    return Delivery(number, WebhookEvent(id, url, body, created), *delivery)
