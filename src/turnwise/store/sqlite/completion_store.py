"""Stored completions in SQLite, in the database of the conversations."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from turnwise.core.access import Principal
from turnwise.core.errors import NotFound
from turnwise.core.stored_completions import CompletionStore, SortOrder, StoredCompletion
from turnwise.store.sqlite.ownership import own_records

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

_COLUMNS = "id, created, model, messages, request, response, metadata, user, consent, version, weights, is_routed"


class SqliteCompletionStore:
    """The `CompletionStore` port on the transactions of a `SqliteDatabase`."""

    def __init__(self, read_transaction: Transaction, write_transaction: Transaction, principal: Principal) -> None:
        self._read_transaction, self._write_transaction = read_transaction, write_transaction
        self._principal = principal

    def add(self, completion: StoredCompletion) -> None:
        """Store a completion."""
        values = (
            completion.id, completion.created, completion.model, _json(completion.messages), _json(completion.request),
            _json(completion.response), _json(completion.metadata), completion.user, completion.consent,
            completion.version, completion.weights_sha256, completion.is_routed, self._principal.owner,
        )  # fmt: skip
        with self._write_transaction() as connection:
            connection.execute(
                f"INSERT INTO completions ({_COLUMNS}, owner) VALUES ({', '.join('?' * len(values))})",  # noqa: S608
                values,
            )

    def get(self, id: str) -> StoredCompletion:
        """A completion."""
        with self._read_transaction() as connection:
            return _completion(self._row(connection, id))

    def list(
        self, *, limit: int, after: str | None, order: SortOrder, model: str | None, metadata: Mapping[str, str]
    ) -> tuple[list[StoredCompletion], bool]:
        """A page of completions, and whether there are more."""
        condition, owner = own_records(self._principal)
        conditions, values = [condition], list[Any](owner)
        if model is not None:
            conditions.append("model = ?")
            values.append(model)
        for key, value in metadata.items():
            conditions.append("EXISTS (SELECT 1 FROM json_each(metadata) WHERE key = ? AND value = ?)")
            values += [key, value]
        with self._read_transaction() as connection:
            if after is not None:
                conditions.append(f"number {'>' if order == 'asc' else '<'} ?")
                values.append(self._number(connection, after))
            direction = "ASC" if order == "asc" else "DESC"
            query = f"SELECT {_COLUMNS} FROM completions WHERE {' AND '.join(conditions)}"  # noqa: S608
            rows = connection.execute(f"{query} ORDER BY number {direction} LIMIT ?", (*values, limit + 1)).fetchall()
        return [_completion(row) for row in rows[:limit]], len(rows) > limit

    def update_metadata(self, id: str, metadata: Mapping[str, str]) -> StoredCompletion:
        """Replace the metadata."""
        with self._write_transaction() as connection:
            number = self._number(connection, id)
            connection.execute("UPDATE completions SET metadata = ? WHERE number = ?", (_json(metadata), number))
            return _completion(self._row(connection, id))

    def delete(self, id: str) -> None:
        """Delete a completion and its feedback."""
        with self._write_transaction() as connection:
            connection.execute("DELETE FROM completions WHERE number = ?", (self._number(connection, id),))

    def _row(self, connection: sqlite3.Connection, id: str, columns: str = _COLUMNS) -> tuple[Any, ...]:
        condition, owner = own_records(self._principal)
        row = connection.execute(
            f"SELECT {columns} FROM completions WHERE id = ? AND {condition}",  # noqa: S608
            (id, *owner),
        ).fetchone()
        if row is None:
            raise NotFound(f"There is no stored completion '{id[:60]}'; it was not stored, or it was deleted.")
        return tuple(row)

    def _number(self, connection: sqlite3.Connection, id: str) -> int:
        return int(self._row(connection, id, "number")[0])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=dict)


def _completion(row: tuple[Any, ...]) -> StoredCompletion:
    id, created, model, messages, request, response, metadata, user, consent, version, weights, is_routed = row
    return StoredCompletion(
        id, created, model, tuple(json.loads(messages)), json.loads(request), json.loads(response),
        json.loads(metadata), user, consent, version, weights, bool(is_routed),
    )  # fmt: skip


_: type[CompletionStore] = SqliteCompletionStore  # the type checker compares it with the port
