"""What the conversation store has of people: export, erasure and retention in SQLite."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from turnwise.core.data_subjects import DataSubject, PersonalDataStore
from turnwise.store.sqlite.comparison_store import load_comparisons
from turnwise.store.sqlite.conversation_queries import load_conversation
from turnwise.store.sqlite.database import SqliteDatabase
from turnwise.store.sqlite.feedback_store import load_feedback
from turnwise.store.sqlite.handoff_rows import load_handoffs
from turnwise.store.sqlite.message_tree import MessageTree

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]
Condition = tuple[str, tuple[Any, ...]]

BATCH_ROWS = 50  # of a transaction: other writers wait for less than a second
_CHANGED = {
    "conversations": "updated", "completions": "created", "responses": "created", "feedback": "created",
    "comparisons": "created",
}  # fmt: skip
_OF_ANSWERS = ("feedback", "comparisons")  # deleted together with their answers
_EMPTY = "NOT EXISTS (SELECT 1 FROM conversations WHERE folder = folders.number)"
_OWNERS = """
    SELECT DISTINCT owner FROM (
        SELECT owner FROM conversations JOIN messages ON messages.conversation = conversations.number
            WHERE json_extract(meta, '$.user') = ?1
        UNION SELECT owner FROM completions WHERE user = ?1
        UNION SELECT owner FROM responses WHERE user = ?1
        UNION SELECT owner FROM feedback WHERE user = ?1
        UNION SELECT owner FROM comparisons WHERE user = ?1
    ) ORDER BY owner
"""


class SqlitePersonalData:
    """The `PersonalDataStore` port on a `SqliteDatabase`. It reaches the records of all owners."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def owners_of(self, user: str) -> Sequence[str | None]:
        """API keys in which a user has stored something."""
        with self._database.read_transaction() as connection:
            return [owner for (owner,) in connection.execute(_OWNERS, (user,))]

    def export(self, subject: DataSubject) -> Mapping[str, Any]:
        """Everything that is stored of a subject."""
        with self._database.read_transaction() as connection:
            condition, values = _of_subject("conversations", subject)
            rows = connection.execute(
                f"SELECT number FROM conversations WHERE {condition} ORDER BY number",  # noqa: S608
                values,
            ).fetchall()
            exported = {
                "conversations": [_conversation(connection, number) for (number,) in rows],
                "folders": _folders(connection, subject),
                "completions": _rows(connection, "completions", subject, "messages", "request", "response", "metadata"),
                "responses": _rows(connection, "responses", subject, "input", "body"),
                "feedback": _feedback(connection, subject),
                "comparisons": _comparisons(connection, subject),
            }
        return {kind: entries for kind, entries in exported.items() if entries}

    def erase(self, subject: DataSubject) -> Mapping[str, int]:
        """Delete everything that is stored of a subject."""
        folders: set[int] = set()
        counts = {table: self._delete(table, *_of_subject(table, subject), folders) for table in _CHANGED}
        # A folder has no user: those of a key are deleted with it, others when their last conversation is.
        num_folders = len(folders)
        if subject.user is None:
            num_folders += self._delete("folders", "owner IS ?", (subject.owner,))
        return counts | {"folders": num_folders}

    def delete_older(self, time: float) -> Mapping[str, int]:
        """Delete what has not changed since a time."""
        tables = [table for table in _CHANGED if table not in _OF_ANSWERS]
        counts = {table: self._delete(table, f"{_CHANGED[table]} < ?", (time,)) for table in tables}
        return counts | {"folders": self._delete("folders", f"created < ? AND {_EMPTY}", (time,))}

    def remove_traces(self, *, shrink: bool = True) -> None:
        """Remove deleted texts from the files."""
        if shrink:
            self._database.vacuum()
        self._database.truncate_log()

    def _delete(
        self, table: str, condition: str, values: Sequence[Any], emptied_folders: set[int] | None = None
    ) -> int:
        """Delete rows; of conversations also the folders that this empties, whose numbers are added to a set."""
        with self._database.read_transaction() as connection:
            query = f"SELECT number FROM {table} WHERE {condition}"  # noqa: S608
            numbers = [number for (number,) in connection.execute(query, tuple(values))]
        deleted = 0
        for start in range(0, len(numbers), BATCH_ROWS):
            batch = numbers[start : start + BATCH_ROWS]
            with self._database.write_transaction() as connection:
                # The condition again: a conversation may have changed meanwhile.
                selected, arguments = f"number IN ({_marks(batch)}) AND {condition}", (*batch, *values)
                folders: list[int] = []
                if emptied_folders is not None and table == "conversations":
                    query = f"SELECT DISTINCT folder FROM conversations WHERE {selected} AND folder IS NOT NULL"  # noqa: S608
                    folders = [number for (number,) in connection.execute(query, arguments)]
                deleted += connection.execute(f"DELETE FROM {table} WHERE {selected}", arguments).rowcount  # noqa: S608
                # In the same transaction: after an interruption, nothing tells which folders had such conversations.
                query = f"DELETE FROM folders WHERE number IN ({_marks(folders)}) AND {_EMPTY} RETURNING number"  # noqa: S608
                rows = connection.execute(query, folders).fetchall() if folders else ()
            if emptied_folders is not None:
                emptied_folders.update(number for (number,) in rows)
        return deleted


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))


def _of_subject(table: str, subject: DataSubject) -> Condition:
    if subject.user is None:
        return "owner IS ?", (subject.owner,)
    if table != "conversations":
        return "owner IS ? AND user = ?", (subject.owner, subject.user)
    messages = "SELECT conversation FROM messages WHERE json_extract(meta, '$.user') = ?"
    return f"owner IS ? AND number IN ({messages})", (subject.owner, subject.user)


def _conversation(connection: sqlite3.Connection, number: int) -> dict[str, Any]:
    stored = load_conversation(connection, number)
    tree = MessageTree.load(connection, number)
    messages = [
        {"id": node.stored.id, "parent_id": node.stored.parent_id, "created": node.stored.created,
         **node.stored.message.as_dict(), "meta": dict(node.stored.meta)}
        for node in tree.nodes.values()
    ]  # fmt: skip
    handoffs = [asdict(row.handoff) for row in load_handoffs(connection, "conversation = ?", (number,))]
    fields = {
        "id": stored.id, "title": stored.title, "model": stored.model, "created": stored.created,
        "updated": stored.updated, "pinned": stored.is_pinned, "folder_id": stored.folder_id,
        "settings": dict(stored.settings), "messages": messages,
    }  # fmt: skip
    return fields | ({"handoffs": handoffs} if handoffs else {})


def _folders(connection: sqlite3.Connection, subject: DataSubject) -> list[dict[str, Any]]:
    """Folders of a key, or those with conversations of the user."""
    condition, values = "owner IS ?", (subject.owner,)
    if subject.user is not None:
        conversations, values = _of_subject("conversations", subject)
        condition = f"number IN (SELECT folder FROM conversations WHERE {conversations})"  # noqa: S608
    query = f"SELECT id, name, created FROM folders WHERE {condition} ORDER BY number"  # noqa: S608
    return [{"id": id, "name": name, "created": created} for id, name, created in connection.execute(query, values)]


def _rows(connection: sqlite3.Connection, table: str, subject: DataSubject, *json_columns: str) -> list[dict[str, Any]]:
    condition, values = _of_subject(table, subject)
    columns = ("id", "created", "user", "consent", *json_columns)
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE {condition} ORDER BY number"  # noqa: S608
    return [_with_parsed(zip(columns, row, strict=True), json_columns) for row in connection.execute(query, values)]


def _with_parsed(fields: Iterable[tuple[str, Any]], json_columns: Sequence[str]) -> dict[str, Any]:
    return {name: json.loads(value) if name in json_columns else value for name, value in fields}


def _feedback(connection: sqlite3.Connection, subject: DataSubject) -> list[dict[str, Any]]:
    condition, values = _of_subject("feedback", subject)
    for column in ("owner", "user"):
        condition = condition.replace(f"{column} ", f"f.{column} ")
    return [
        {"id": entry.id, "answer": str(entry.answer), "consent": entry.consent, **asdict(entry.content)}
        for entry in load_feedback(connection, f"{condition} ORDER BY f.number", values)
    ]


def _comparisons(connection: sqlite3.Connection, subject: DataSubject) -> list[dict[str, Any]]:
    condition, values = _of_subject("comparisons", subject)
    for column in ("owner", "user"):
        condition = condition.replace(f"{column} ", f"c.{column} ")
    return [
        {"id": entry.id, "created": entry.created, "consent": entry.consent, "left": str(entry.content.left),
         "right": str(entry.content.right), "verdict": entry.content.verdict, "user": entry.content.user,
         "left_label": entry.content.left_label, "right_label": entry.content.right_label}
        for entry in load_comparisons(connection, f"{condition} ORDER BY c.number", values)
    ]  # fmt: skip


_: type[PersonalDataStore] = SqlitePersonalData  # the type checker compares it with the port
