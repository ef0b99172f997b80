"""States of conversations in SQLite, in the database of the conversations."""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from turnwise.core.errors import NotFound
from turnwise.core.handoffs import ConversationStateStore
from turnwise.store.sqlite.conversation_rows import conversation_number, meta_to_json

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]


class SqliteConversationStateStore:
    """The `ConversationStateStore` port on the transactions of a `SqliteDatabase`."""

    def __init__(self, read_transaction: Transaction, write_transaction: Transaction) -> None:
        self._read_transaction, self._write_transaction = read_transaction, write_transaction

    def load(self, conversation_id: str, tenant: str) -> Mapping[str, Any]:
        """The state of a conversation."""
        with self._read_transaction() as connection:
            value: Mapping[str, Any] = json.loads(_load(connection, conversation_id, tenant))
            return value

    def save(self, conversation_id: str, tenant: str, state: Mapping[str, Any]) -> None:
        """Replace the state of a conversation."""
        value = meta_to_json(state)
        with self._write_transaction() as connection:
            _load(connection, conversation_id, tenant)
            connection.execute(
                "INSERT INTO conversation_states (conversation, tenant, value, updated) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (conversation) DO UPDATE SET value = excluded.value, updated = excluded.updated",
                (conversation_number(connection, conversation_id), tenant, value, time.time()),
            )


def _load(connection: sqlite3.Connection, conversation_id: str, tenant: str) -> str:
    """The state as JSON. Raises `NotFound` if it belongs to another tenant."""
    number = conversation_number(connection, conversation_id)
    row = connection.execute(
        "SELECT tenant, value FROM conversation_states WHERE conversation = ?", (number,)
    ).fetchone()
    if row is None:
        return "{}"
    if row[0] != tenant:
        raise NotFound(f"There is no conversation '{conversation_id[:60]}'; it may have been deleted.")
    return str(row[1])


_: type[ConversationStateStore] = SqliteConversationStateStore  # the type checker compares it with the port
