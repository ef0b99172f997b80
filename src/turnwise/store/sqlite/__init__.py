"""Conversations in one SQLite file: write-ahead log, every acknowledged change synced to disk."""

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData, InvalidParameter, NotFound
from turnwise.core.messages import Message
from turnwise.core.ports import HEAD, ConversationStore, StoredConversation
from turnwise.store.sqlite.completion_store import SqliteCompletionStore
from turnwise.store.sqlite.database import SqliteDatabase
from turnwise.store.sqlite.message_tree import MessageTree
from turnwise.store.sqlite.response_store import SqliteResponseStore
from turnwise.store.sqlite.tool_columns import tools_to_json

PREFIX = "sqlite:///"
_COLUMNS = "id, title, model, created, updated"


def open_url(url: str) -> "SqliteConversationStore":
    """Open `sqlite:///PATH`, creating file and folders, or `sqlite:///:memory:`."""
    where = url.removeprefix(PREFIX)
    if not url.startswith(PREFIX) or not where or "\0" in where:
        raise InvalidParameter("store", f"'{url[:100]}' names no file; write sqlite:///PATH or sqlite:///:memory:.")
    return SqliteConversationStore(None if where == ":memory:" else Path(where).expanduser())


class SqliteConversationStore:
    """The `ConversationStore` port on SQLite. It may be called from several threads."""

    def __init__(self, path: Path | None) -> None:
        """Open `path`, or a store in memory for None. Raises `UserError` when it cannot be one of ours."""
        self._base = SqliteDatabase(path)

    @property
    def completions(self) -> SqliteCompletionStore:
        """Stored completions, in the same file."""
        return SqliteCompletionStore(self._base.read_transaction, self._base.write_transaction)

    @property
    def responses(self) -> SqliteResponseStore:
        """Stored responses, in the same file."""
        return SqliteResponseStore(self._base.read_transaction, self._base.write_transaction)

    def create(self, *, title: str, model: str) -> StoredConversation:
        """Start a conversation."""
        now = time.time()
        made = StoredConversation(f"conv_{secrets.token_hex(12)}", title, model, created=now, updated=now)
        with self._base.write_transaction() as connection:
            connection.execute(
                f"INSERT INTO conversations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
                (made.id, title, model, now, now),
            )
        return made

    def ensure_branch(self, conversation_id: str, messages: Sequence[Message], *, title: str = "") -> tuple[str, ...]:
        """Make `messages` a branch of the tree and return their ids."""
        with self._base.write_transaction() as connection:
            number = _number_of(connection, conversation_id)
            matched = MessageTree.load(connection, number).match(messages)
            parent = matched[-1].number if matched else None
            if title:
                connection.execute(
                    "UPDATE conversations SET title = ? WHERE number = ? AND title = ''", (title, number)
                )
            added = _add(connection, number, parent, messages[len(matched) :], "{}")
            if parent is not None and not added:  # it is asked again, so why it was refused before is of no use
                connection.execute(
                    "UPDATE messages SET meta = json_remove(meta, '$.error') WHERE number = ?", (parent,)
                )
        return (*(node.stored.id for node in matched), *added)

    def append(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        meta: Mapping[str, Any] | None = None,
        *,
        parent_id: str | None = HEAD,
    ) -> tuple[str, ...]:
        """Add messages below `parent_id`, all of them or none."""
        written = _json(meta or {})
        with self._base.write_transaction() as connection:
            number = _number_of(connection, conversation_id)
            return _add(connection, number, _parent_number(connection, number, parent_id), messages, written)

    def update_message(self, message_id: str, *, content: Message | None = None, meta: Mapping[str, Any]) -> None:
        """Change an answer that is being written, or what is recorded about a message."""
        written = _json(meta)
        with self._base.write_transaction() as connection:
            row = connection.execute("SELECT number, conversation FROM messages WHERE id = ?", (message_id,)).fetchone()
            if row is None:
                raise NotFound(f"There is no message '{message_id[:60]}'; its conversation may have been deleted.")
            connection.execute("UPDATE messages SET meta = json_patch(meta, ?) WHERE number = ?", (written, row[0]))
            if content is not None:
                connection.execute(
                    "UPDATE messages SET role = ?, content = ?, name = ?, tools = ?, pinned = ? WHERE number = ?",
                    (content.role, content.content, content.name, tools_to_json(content), content.pinned, row[0]),
                )
            _touch(connection, row[1], time.time())

    def get(self, conversation_id: str) -> StoredConversation:
        """One conversation with its messages."""
        with self._base.read_transaction() as connection:
            number = _number_of(connection, conversation_id)
            row = connection.execute(f"SELECT {_COLUMNS} FROM conversations WHERE number = ?", (number,)).fetchone()  # noqa: S608
            tree = MessageTree.load(connection, number)
        head = None if tree.head is None else tree.nodes[tree.head].stored.id
        shown, everything = tree.branch(tree.head), tuple(tree.nodes.values())
        return replace(
            StoredConversation(*row), head=head, messages=tree.with_siblings(shown), tree=tree.with_siblings(everything)
        )

    def list(self, *, limit: int = 100, after: str | None = None, query: str = "") -> list[StoredConversation]:
        """Conversations without their messages, the last changed first."""
        if limit < 1:
            raise InvalidParameter("limit", f"'limit' must be at least 1, got {limit}.")
        conditions, values = ["1"], list[Any]()
        with self._base.read_transaction() as connection:
            if after is not None:
                conditions.append("(updated, number) < (SELECT updated, number FROM conversations WHERE number = ?)")
                values.append(_number_of(connection, after))
            if query:
                conditions.append(
                    "(contains(title, ?) OR EXISTS (SELECT 1 FROM messages"
                    " WHERE messages.conversation = conversations.number AND contains(content, ?)))"
                )
                values += [query.casefold()] * 2
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM conversations WHERE {' AND '.join(conditions)}"  # noqa: S608
                " ORDER BY updated DESC, number DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [StoredConversation(*row) for row in rows]

    def select_branch(self, conversation_id: str, message_id: str) -> None:
        """Show another branch: the head becomes the latest message below `message_id`."""
        with self._base.write_transaction() as connection:
            number = _number_of(connection, conversation_id)
            head = MessageTree.load(connection, number).latest_below(message_id)
            connection.execute("UPDATE conversations SET head = ? WHERE number = ?", (head, number))

    def rename(self, conversation_id: str, title: str) -> None:
        """Give it another title; its place in the list stays."""
        with self._base.write_transaction() as connection:
            number = _number_of(connection, conversation_id)
            connection.execute("UPDATE conversations SET title = ? WHERE number = ?", (title, number))

    def delete(self, conversation_id: str) -> None:
        """Delete it and its messages."""
        with self._base.write_transaction() as connection:
            connection.execute("DELETE FROM conversations WHERE number = ?", (_number_of(connection, conversation_id),))

    def close(self) -> None:
        """Release the file; safe to call twice."""
        self._base.close()


def _number_of(connection: sqlite3.Connection, conversation_id: str) -> int:
    row = connection.execute("SELECT number FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no conversation '{conversation_id[:60]}'; it may have been deleted.")
    return int(row[0])


def _parent_number(connection: sqlite3.Connection, conversation: int, parent_id: str | None) -> int | None:
    if parent_id is None:
        return None
    if parent_id == HEAD:
        (head,) = connection.execute("SELECT head FROM conversations WHERE number = ?", (conversation,)).fetchone()
        return None if head is None else int(head)
    row = connection.execute(
        "SELECT number FROM messages WHERE conversation = ? AND id = ?", (conversation, parent_id)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no message '{parent_id[:60]}' in this conversation.")
    return int(row[0])


def _add(
    connection: sqlite3.Connection, conversation: int, parent: int | None, messages: Sequence[Message], meta: str
) -> tuple[str, ...]:
    """Add messages one below the other, make the last one the head, and return their ids."""
    now, ids = time.time(), list[str]()
    for message in messages:
        ids.append(f"msg_{secrets.token_hex(12)}")
        cursor = connection.execute(
            "INSERT INTO messages (id, conversation, parent, created, role, content, name, tools, meta, pinned)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (ids[-1], conversation, parent, now, message.role, message.content, message.name, tools_to_json(message),
             meta, message.pinned),
        )  # fmt: skip
        parent = cursor.lastrowid
    if ids:
        connection.execute("UPDATE conversations SET head = ? WHERE number = ?", (parent, conversation))
        _touch(connection, conversation, now)
    return tuple(ids)


def _touch(connection: sqlite3.Connection, number: int, now: float) -> None:
    """A clock that was set back must not reorder what a person did last."""
    connection.execute("UPDATE conversations SET updated = MAX(?, updated) WHERE number = ?", (now, number))


def _json(meta: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(meta), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"The meta data of a message must be plain JSON: {error}.") from error


_: type[ConversationStore] = SqliteConversationStore  # the type checker compares it with the port
