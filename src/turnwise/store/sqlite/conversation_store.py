"""Conversations in SQLite."""

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
from turnwise.core.stored_conversations import HEAD, ConversationStore, StoredConversation
from turnwise.store.sqlite.completion_store import SqliteCompletionStore
from turnwise.store.sqlite.database import SqliteDatabase
from turnwise.store.sqlite.message_tree import MessageTree
from turnwise.store.sqlite.response_store import SqliteResponseStore
from turnwise.store.sqlite.tool_columns import tools_to_json

_COLUMNS = "id, title, model, created, updated"


class SqliteConversationStore:
    """The `ConversationStore` port on SQLite. Thread-safe."""

    def __init__(self, path: Path | None) -> None:
        """Open `path`; None: a store in memory. Raises `UserError` if the file is not a conversation store."""
        self._database = SqliteDatabase(path)

    @property
    def completions(self) -> SqliteCompletionStore:
        """Stored completions, in the same database."""
        return SqliteCompletionStore(self._database.read_transaction, self._database.write_transaction)

    @property
    def responses(self) -> SqliteResponseStore:
        """Stored responses, in the same database."""
        return SqliteResponseStore(self._database.read_transaction, self._database.write_transaction)

    def create(self, *, title: str, model: str) -> StoredConversation:
        """Create a conversation."""
        now = time.time()
        conversation = StoredConversation(f"conv_{secrets.token_hex(12)}", title, model, created=now, updated=now)
        with self._database.write_transaction() as connection:
            connection.execute(
                f"INSERT INTO conversations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
                (conversation.id, title, model, now, now),
            )
        return conversation

    def ensure_branch(self, conversation_id: str, messages: Sequence[Message], *, title: str = "") -> tuple[str, ...]:
        """Ensure that `messages` is a branch of the tree and return the message ids."""
        with self._database.write_transaction() as connection:
            number = _conversation_number(connection, conversation_id)
            prefix = MessageTree.load(connection, number).match(messages)
            parent = prefix[-1].number if prefix else None
            if title:
                connection.execute(
                    "UPDATE conversations SET title = ? WHERE number = ? AND title = ''", (title, number)
                )
            added_ids = _insert_messages(connection, number, parent, messages[len(prefix) :], "{}")
            if parent is not None and not added_ids:  # the request is repeated: its old error is obsolete
                connection.execute(
                    "UPDATE messages SET meta = json_remove(meta, '$.error') WHERE number = ?", (parent,)
                )
        return (*(node.stored.id for node in prefix), *added_ids)

    def append(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        meta: Mapping[str, Any] | None = None,
        *,
        parent_id: str | None = HEAD,
    ) -> tuple[str, ...]:
        """Add messages below `parent_id`, in one transaction."""
        meta_json = _json(meta or {})
        with self._database.write_transaction() as connection:
            number = _conversation_number(connection, conversation_id)
            return _insert_messages(
                connection, number, _parent_number(connection, number, parent_id), messages, meta_json
            )

    def update_message(self, message_id: str, *, content: Message | None = None, meta: Mapping[str, Any]) -> None:
        """Update a message or its metadata."""
        meta_json = _json(meta)
        with self._database.write_transaction() as connection:
            row = connection.execute("SELECT number, conversation FROM messages WHERE id = ?", (message_id,)).fetchone()
            if row is None:
                raise NotFound(f"There is no message '{message_id[:60]}'; its conversation may have been deleted.")
            connection.execute("UPDATE messages SET meta = json_patch(meta, ?) WHERE number = ?", (meta_json, row[0]))
            if content is not None:
                connection.execute(
                    "UPDATE messages SET role = ?, content = ?, name = ?, tools = ?, pinned = ? WHERE number = ?",
                    (content.role, content.content, content.name, tools_to_json(content), content.pinned, row[0]),
                )
            _set_updated(connection, row[1], time.time())

    def get(self, conversation_id: str) -> StoredConversation:
        """A conversation with its messages."""
        with self._database.read_transaction() as connection:
            number = _conversation_number(connection, conversation_id)
            row = connection.execute(f"SELECT {_COLUMNS} FROM conversations WHERE number = ?", (number,)).fetchone()  # noqa: S608
            tree = MessageTree.load(connection, number)
        head = None if tree.head is None else tree.nodes[tree.head].stored.id
        branch, all_nodes = tree.branch(tree.head), tuple(tree.nodes.values())
        return replace(
            StoredConversation(*row), head=head, messages=tree.with_siblings(branch), tree=tree.with_siblings(all_nodes)
        )

    def list(self, *, limit: int = 100, after: str | None = None, query: str = "") -> list[StoredConversation]:
        """Conversations without messages, most recently updated first."""
        if limit < 1:
            raise InvalidParameter("limit", f"'limit' must be at least 1, got {limit}.")
        conditions, values = ["1"], list[Any]()
        with self._database.read_transaction() as connection:
            if after is not None:
                conditions.append("(updated, number) < (SELECT updated, number FROM conversations WHERE number = ?)")
                values.append(_conversation_number(connection, after))
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
        """Switch branches: the newest message below `message_id` becomes the head."""
        with self._database.write_transaction() as connection:
            number = _conversation_number(connection, conversation_id)
            head = MessageTree.load(connection, number).latest_below(message_id)
            connection.execute("UPDATE conversations SET head = ? WHERE number = ?", (head, number))

    def rename(self, conversation_id: str, title: str) -> None:
        """Set the title. Does not change the order of `list`."""
        with self._database.write_transaction() as connection:
            number = _conversation_number(connection, conversation_id)
            connection.execute("UPDATE conversations SET title = ? WHERE number = ?", (title, number))

    def delete(self, conversation_id: str) -> None:
        """Delete a conversation with its messages."""
        with self._database.write_transaction() as connection:
            connection.execute(
                "DELETE FROM conversations WHERE number = ?", (_conversation_number(connection, conversation_id),)
            )

    def close(self) -> None:
        """Close the database. Safe to call twice."""
        self._database.close()


def _conversation_number(connection: sqlite3.Connection, conversation_id: str) -> int:
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


def _insert_messages(
    connection: sqlite3.Connection, conversation: int, parent: int | None, messages: Sequence[Message], meta: str
) -> tuple[str, ...]:
    """Insert messages, each below the previous one, make the last one the head, and return the ids."""
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
        _set_updated(connection, conversation, now)
    return tuple(ids)


def _set_updated(connection: sqlite3.Connection, number: int, now: float) -> None:
    """Set the update time. It never decreases, so a clock that is set back does not reorder conversations."""
    connection.execute("UPDATE conversations SET updated = MAX(?, updated) WHERE number = ?", (now, number))


def _json(meta: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(meta), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"The metadata of a message must be plain JSON: {error}.") from error


_: type[ConversationStore] = SqliteConversationStore  # the type checker compares it with the port
