"""Queries on conversations without their messages."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnwise.core.access import Principal
from turnwise.core.errors import InvalidData
from turnwise.core.stored_conversations import MessageMatch, StoredConversation
from turnwise.store.sqlite.ownership import own_records

_COLUMNS = """
    id, title, model, created, updated, owner, pinned,
    (SELECT folders.id FROM folders WHERE folders.number = conversations.folder), title_source
"""
EXCERPT_BEFORE, EXCERPT_CHARS = 30, 160


def load_conversation(connection: sqlite3.Connection, number: int) -> StoredConversation:
    """A conversation with its settings, without its messages."""
    query = f"SELECT {_COLUMNS}, settings FROM conversations WHERE number = ?"  # noqa: S608
    return _conversation(connection.execute(query, (number,)).fetchone())


def list_conversations(
    connection: sqlite3.Connection,
    principal: Principal,
    *,
    limit: int,
    after: int | None,
    query: str,
    is_pinned: bool | None,
    folder: int | None,
    is_outside: bool,
) -> list[StoredConversation]:
    """Conversations without settings and messages, most recently updated first.

    Args:
        connection: a transaction.
        principal: whose conversations.
        limit: maximum number.
        after: row number of the last conversation of the previous page.
        query: text in the title or in a message.
        is_pinned: pinned ones or the others; None: both.
        folder: row number of the folder; None: any.
        is_outside: only those outside of folders.
    """
    condition, owner = own_records(principal)
    conditions, values = [condition], list[Any](owner)
    if after is not None:
        conditions.append("(updated, number) < (SELECT updated, number FROM conversations WHERE number = ?)")
        values.append(after)
    if is_pinned is not None:
        conditions.append("pinned" if is_pinned else "NOT pinned")
    if folder is not None:
        conditions.append("folder = ?")
        values.append(folder)
    elif is_outside:
        conditions.append("folder IS NULL")
    if query:
        conditions.append(
            "(contains(title, ?) OR EXISTS (SELECT 1 FROM messages"
            " WHERE messages.conversation = conversations.number AND contains(content, ?)))"
        )
        values += [query.casefold()] * 2
    rows = connection.execute(
        f"SELECT number, {_COLUMNS} FROM conversations WHERE {' AND '.join(conditions)}"  # noqa: S608
        " ORDER BY updated DESC, number DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    if not query:
        return [_conversation(row[1:]) for row in rows]
    return [replace(_conversation(row[1:]), match=_find_match(connection, row[0], query)) for row in rows]


def list_conversation_ids(connection: sqlite3.Connection, principal: Principal) -> list[str]:
    """Ids of all conversations, most recently updated first."""
    condition, owner = own_records(principal)
    query = f"SELECT id FROM conversations WHERE {condition} ORDER BY updated DESC, number DESC"  # noqa: S608
    return [id for (id,) in connection.execute(query, owner)]


def settings_to_json(settings: Mapping[str, Any]) -> str:
    """Settings as JSON. Raises `InvalidData`."""
    try:
        return json.dumps(dict(settings), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"The settings of a conversation must be plain JSON: {error}.") from error


def _conversation(row: Sequence[Any]) -> StoredConversation:
    id, title, model, created, updated, owner, is_pinned, folder_id, title_source, *settings = row
    return StoredConversation(
        id, title, model, created, updated, owner, bool(is_pinned), folder_id,
        json.loads(settings[0]) if settings else {}, title_source,
    )  # fmt: skip


def _find_match(connection: sqlite3.Connection, conversation: int, query: str) -> MessageMatch | None:
    """The newest message that contains the text."""
    row = connection.execute(
        "SELECT id, content FROM messages WHERE conversation = ? AND contains(content, ?) ORDER BY number DESC LIMIT 1",
        (conversation, query.casefold()),
    ).fetchone()
    return None if row is None else MessageMatch(row[0], _excerpt(row[1], query))


def _excerpt(content: str, query: str) -> str:
    """The text around a match, on one line."""
    # The folded text may be longer than the text: its positions are good enough for an excerpt.
    start = max(0, min(content.casefold().find(query.casefold()), len(content) - 1) - EXCERPT_BEFORE)
    if start and (space := content.find(" ", start, start + EXCERPT_BEFORE)) >= 0:
        start = space + 1
    end = start + max(EXCERPT_CHARS, EXCERPT_BEFORE + len(query))
    text = " ".join(content[start:end].split())
    return ("…" if start else "") + text + ("…" if end < len(content) else "")
