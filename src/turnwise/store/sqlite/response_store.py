"""Stored responses in SQLite, in the database of the conversations."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from turnwise.core.access import Principal
from turnwise.core.errors import NotFound
from turnwise.core.stored_responses import ResponseStore, StoredResponse
from turnwise.store.sqlite.ownership import own_records

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

_COLUMNS = "id, created, previous_id, input, body, user, consent"
_CHAIN = """
    WITH RECURSIVE chain (id, created, previous_id, input, body, user, consent, depth) AS (
        SELECT id, created, previous_id, input, body, user, consent, 0 FROM responses WHERE id = ? AND {condition}
        UNION ALL
        SELECT r.id, r.created, r.previous_id, r.input, r.body, r.user, r.consent, chain.depth + 1
        FROM responses AS r JOIN chain ON r.id = chain.previous_id AND {condition}
    )
    SELECT id, created, previous_id, input, body, user, consent FROM chain ORDER BY depth DESC
"""


class SqliteResponseStore:
    """The `ResponseStore` port on the transactions of a `SqliteDatabase`."""

    def __init__(self, read_transaction: Transaction, write_transaction: Transaction, principal: Principal) -> None:
        self._read_transaction, self._write_transaction = read_transaction, write_transaction
        self._principal = principal

    def add(self, response: StoredResponse) -> None:
        """Store a response."""
        values = (
            response.id, response.created, response.previous_id, _json(response.input), _json(response.body),
            response.user, response.consent, self._principal.owner,
        )  # fmt: skip
        with self._write_transaction() as connection:
            connection.execute(f"INSERT INTO responses ({_COLUMNS}, owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608

    def get(self, id: str) -> StoredResponse:
        """A response."""
        condition, owner = own_records(self._principal)
        with self._read_transaction() as connection:
            query = f"SELECT {_COLUMNS} FROM responses WHERE id = ? AND {condition}"  # noqa: S608
            row = connection.execute(query, (id, *owner)).fetchone()
        if row is None:
            raise _not_found(id)
        return _response(row)

    def chain(self, id: str) -> tuple[StoredResponse, ...]:
        """A response and all previous ones, oldest first."""
        condition, owner = own_records(self._principal)
        with self._read_transaction() as connection:
            rows = connection.execute(_CHAIN.format(condition=condition), (id, *owner, *owner)).fetchall()
        if not rows:
            raise _not_found(id)
        chain = tuple(map(_response, rows))
        if chain[0].previous_id is not None:
            raise NotFound(f"The response '{id[:60]}' continues '{chain[0].previous_id[:60]}', which was deleted.")
        return chain

    def delete(self, id: str) -> None:
        """Delete a response."""
        condition, owner = own_records(self._principal)
        with self._write_transaction() as connection:
            cursor = connection.execute(f"DELETE FROM responses WHERE id = ? AND {condition}", (id, *owner))  # noqa: S608
            if cursor.rowcount == 0:
                raise _not_found(id)


def _not_found(id: str) -> NotFound:
    return NotFound(f"There is no response '{id[:60]}'; it was not stored, or it was deleted.")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=dict)


def _response(row: tuple[Any, ...]) -> StoredResponse:
    id, created, previous_id, items, body, user, consent = row
    return StoredResponse(id, created, previous_id, tuple(json.loads(items)), json.loads(body), user, consent)


_: type[ResponseStore] = SqliteResponseStore  # the type checker compares it with the port
