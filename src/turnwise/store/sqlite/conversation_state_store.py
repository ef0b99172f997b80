"""States of conversations in SQLite, in the database of the conversations."""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from turnwise.core.access import Principal
from turnwise.core.handoffs import ConversationStateStore
from turnwise.store.sqlite.conversation_rows import conversation_number, meta_to_json

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]


class SqliteConversationStateStore:
    """The `ConversationStateStore` port on the transactions of a `SqliteDatabase`."""

    def __init__(self, read_transaction: Transaction, write_transaction: Transaction, principal: Principal) -> None:
        self._read_transaction, self._write_transaction = read_transaction, write_transaction
        self._principal = principal

    def load(self, conversation_id: str) -> Mapping[str, Any]:
        """The state of a conversation."""
        with self._read_transaction() as connection:
            number = conversation_number(connection, conversation_id, self._principal)
            row = connection.execute(
                "SELECT value FROM conversation_states WHERE conversation = ?", (number,)
            ).fetchone()
            value: Mapping[str, Any] = {} if row is None else json.loads(row[0])
            return value

    def save(self, conversation_id: str, state: Mapping[str, Any]) -> None:
        """Replace the state of a conversation."""
        value = meta_to_json(state)
        with self._write_transaction() as connection:
            number = conversation_number(connection, conversation_id, self._principal)
            connection.execute(
                "INSERT INTO conversation_states (conversation, value, updated) VALUES (?, ?, ?)"
                " ON CONFLICT (conversation) DO UPDATE SET value = excluded.value, updated = excluded.updated",
                (number, value, time.time()),
            )


_: type[ConversationStateStore] = SqliteConversationStateStore  # the type checker compares it with the port
