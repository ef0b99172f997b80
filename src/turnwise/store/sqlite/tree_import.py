"""Adds conversations with all their branches: imports and copies."""

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from turnwise.core.access import Principal
from turnwise.core.conversation_trees import ConversationTree, ImportedConversations
from turnwise.store.sqlite.conversation_queries import settings_to_json
from turnwise.store.sqlite.conversation_rows import meta_to_json
from turnwise.store.sqlite.folder_store import insert_folder
from turnwise.store.sqlite.ownership import own_records
from turnwise.store.sqlite.tool_columns import tools_to_json


def import_trees(
    connection: sqlite3.Connection,
    principal: Principal,
    trees: Sequence[ConversationTree],
    model: str,
    meta: Mapping[str, Any],
) -> ImportedConversations:
    """Add the conversations that are new to the principal, in the transaction of `connection`."""
    condition, owner = own_records(principal)
    query = "SELECT name, number FROM folders WHERE owner IS ?"
    folders: dict[str, int] = dict(connection.execute(query, (principal.owner,)).fetchall())
    ids, known_ids, num_messages = list[str](), list[str](), 0
    for tree in trees:
        key = import_key(tree)
        row = connection.execute(
            f"SELECT id FROM conversations WHERE (id = ? OR import_key = ?) AND {condition}",  # noqa: S608
            (tree.source_id, key, *owner),
        ).fetchone()
        if row is not None:
            known_ids.append(row[0])
            continue
        if tree.folder and tree.folder not in folders:
            insert_folder(connection, tree.folder, principal.owner)
            (folders[tree.folder],) = connection.execute("SELECT MAX(number) FROM folders").fetchone()
        ids.append(insert_tree(connection, tree, principal.owner, model, meta, key, folders.get(tree.folder)))
        num_messages += len(tree.messages)
    return ImportedConversations(ids, num_messages, known_ids)


def insert_tree(
    connection: sqlite3.Connection,
    tree: ConversationTree,
    owner: str | None,
    model: str,
    meta: Mapping[str, Any],
    key: str | None,
    folder: int | None,
) -> str:
    """Add a conversation and return its id.

    Args:
        connection: a transaction.
        tree: the conversation.
        owner: its owner.
        model: its model if the tree names none.
        meta: added to the metadata of every message.
        key: digest of an imported conversation.
        folder: row number of its folder.
    """
    now, id = time.time(), f"conv_{secrets.token_hex(12)}"
    created = now if tree.created is None else tree.created
    updated = created if tree.updated is None else tree.updated
    conversation = connection.execute(
        "INSERT INTO conversations (id, title, model, created, updated, owner, pinned, folder, settings, import_key)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (id, tree.title, tree.model or model, created, min(updated, now), owner, tree.is_pinned, folder,
         settings_to_json(tree.settings), key),
    ).lastrowid  # fmt: skip
    numbers: dict[str, int | None] = {}
    for entry in tree.messages:
        message, parent = entry.message, None if entry.parent_id is None else numbers[entry.parent_id]
        numbers[entry.id] = connection.execute(
            "INSERT INTO messages (id, conversation, parent, created, role, content, name, tools, meta, pinned)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (f"msg_{secrets.token_hex(12)}", conversation, parent, created if entry.created is None else entry.created,
             message.role, message.content, message.name, tools_to_json(message), meta_to_json({**entry.meta, **meta}),
             message.pinned),
        ).lastrowid  # fmt: skip
    head = numbers.get(tree.head or "") or numbers[tree.messages[-1].id]
    connection.execute("UPDATE conversations SET head = ? WHERE number = ?", (head, conversation))
    return id


def import_key(tree: ConversationTree) -> str:
    """Digest of the messages with their places in the tree."""
    positions = {entry.id: index for index, entry in enumerate(tree.messages)}
    content = [
        (None if entry.parent_id is None else positions[entry.parent_id], entry.message.as_dict())
        for entry in tree.messages
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
