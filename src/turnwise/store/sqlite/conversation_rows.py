"""Statements on the rows of conversations and messages, for the stores that share them."""

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from turnwise.core.access import Principal
from turnwise.core.errors import InvalidData, NotFound
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import HEAD
from turnwise.store.sqlite.ownership import own_records
from turnwise.store.sqlite.tool_columns import tools_to_json


def conversation_number(connection: sqlite3.Connection, conversation_id: str, principal: Principal) -> int:
    """Row number of a conversation. Raises `NotFound` if there is none, or if it belongs to another owner."""
    condition, owner = own_records(principal)
    row = connection.execute(
        f"SELECT number FROM conversations WHERE id = ? AND {condition}",  # noqa: S608
        (conversation_id, *owner),
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no conversation '{conversation_id[:60]}'; it may have been deleted.")
    return int(row[0])


def parent_number(connection: sqlite3.Connection, conversation: int, parent_id: str | None) -> int | None:
    """Row number of a message, or of the head for `HEAD`. Raises `NotFound`."""
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


def insert_messages(
    connection: sqlite3.Connection,
    conversation: int,
    parent: int | None,
    messages: Sequence[Message],
    meta: str,
    first_meta: str | None = None,
) -> tuple[str, ...]:
    """Insert messages, each below the previous one, make the last one the head, and return the ids.

    Args:
        connection: a transaction.
        conversation: row number of the conversation.
        parent: row number of the parent of the first message.
        messages: the messages.
        meta: metadata of each message, as JSON.
        first_meta: metadata of the first message, if it differs.
    """
    now, ids = time.time(), list[str]()
    for index, message in enumerate(messages):
        own_meta = first_meta if first_meta is not None and index == 0 else meta
        ids.append(f"msg_{secrets.token_hex(12)}")
        cursor = connection.execute(
            "INSERT INTO messages (id, conversation, parent, created, role, content, name, tools, meta, pinned)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (ids[-1], conversation, parent, now, message.role, message.content, message.name, tools_to_json(message),
             own_meta, message.pinned),
        )  # fmt: skip
        parent = cursor.lastrowid
    if ids:
        connection.execute("UPDATE conversations SET head = ? WHERE number = ?", (parent, conversation))
        set_updated(connection, conversation, now)
    return tuple(ids)


def set_updated(connection: sqlite3.Connection, number: int, now: float) -> None:
    """Set the update time. It never decreases, so a clock that is set back does not reorder conversations."""
    connection.execute("UPDATE conversations SET updated = MAX(?, updated) WHERE number = ?", (now, number))


def meta_to_json(meta: Mapping[str, Any]) -> str:
    """Metadata as JSON. Raises `InvalidData`."""
    try:
        return json.dumps(dict(meta), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"The metadata of a message must be plain JSON: {error}.") from error
