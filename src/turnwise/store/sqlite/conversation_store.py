"""Conversations in SQLite."""

import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnwise.core.access import UNRESTRICTED, Principal
from turnwise.core.conversation_folders import NO_FOLDER
from turnwise.core.conversation_trees import ConversationTree, ImportedConversations, TreeMessage
from turnwise.core.errors import InvalidParameter, NotFound
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import (
    HEAD,
    ConversationChanges,
    ConversationStore,
    StoredConversation,
    TitleSource,
)
from turnwise.core.wall_clock import WallClock
from turnwise.store.sqlite.answer_rows import EDITED_META
from turnwise.store.sqlite.collected_answer_reader import SqliteCollectedAnswerReader
from turnwise.store.sqlite.comparison_store import SqliteComparisonStore
from turnwise.store.sqlite.completion_store import SqliteCompletionStore
from turnwise.store.sqlite.conversation_queries import (
    list_conversation_ids,
    list_conversations,
    load_conversation,
    settings_to_json,
)
from turnwise.store.sqlite.conversation_rows import (
    conversation_number,
    insert_messages,
    meta_to_json,
    parent_number,
    set_updated,
)
from turnwise.store.sqlite.database import SqliteDatabase
from turnwise.store.sqlite.feedback_store import SqliteFeedbackStore
from turnwise.store.sqlite.folder_store import SqliteFolderStore, folder_number
from turnwise.store.sqlite.handoff_store import SqliteHandoffStore, Transaction
from turnwise.store.sqlite.message_tree import MessageTree
from turnwise.store.sqlite.ownership import check_same_owner, own_records
from turnwise.store.sqlite.personal_data import SqlitePersonalData
from turnwise.store.sqlite.response_store import SqliteResponseStore
from turnwise.store.sqlite.review_queue import SqliteReviewQueue
from turnwise.store.sqlite.tool_columns import tools_to_json
from turnwise.store.sqlite.tree_import import import_trees, insert_tree


class SqliteConversationStore:
    """The `ConversationStore` port on SQLite. Thread-safe."""

    def __init__(self, path: Path | None) -> None:
        """Open `path`; None: a store in memory. Raises `UserError` if the file is not a conversation store."""
        self._database = SqliteDatabase(path)
        self._clock = WallClock()
        self._principal = UNRESTRICTED

    def for_principal(self, principal: Principal) -> "SqliteConversationStore":
        """This store as `principal` sees it."""
        store = copy(self)
        store._principal = principal
        return store

    @property
    def completions(self) -> SqliteCompletionStore:
        """Stored completions, in the same database."""
        return SqliteCompletionStore(*self._transactions, self._principal)

    @property
    def responses(self) -> SqliteResponseStore:
        """Stored responses, in the same database."""
        return SqliteResponseStore(*self._transactions, self._principal)

    @property
    def feedback(self) -> SqliteFeedbackStore:
        """Feedback on answers, in the same database."""
        return SqliteFeedbackStore(*self._transactions, self._principal)

    @property
    def comparisons(self) -> SqliteComparisonStore:
        """Comparisons of two answers, in the same database."""
        return SqliteComparisonStore(*self._transactions, self._principal)

    @property
    def collected_answers(self) -> SqliteCollectedAnswerReader:
        """Answers that people rated, corrected or replaced."""
        return SqliteCollectedAnswerReader(self._database.read_transaction, self._principal)

    @property
    def review_queue(self) -> SqliteReviewQueue:
        """Answers that people should look at."""
        return SqliteReviewQueue(self._database.read_transaction, self._principal)

    @property
    def personal_data(self) -> SqlitePersonalData:
        """What is stored of people."""
        return SqlitePersonalData(self._database)

    @property
    def handoffs(self) -> SqliteHandoffStore:
        """Hand-offs to people, in the same database."""
        return SqliteHandoffStore(*self._transactions, self._principal, self._clock)

    @property
    def folders(self) -> SqliteFolderStore:
        """Folders of conversations, in the same database."""
        return SqliteFolderStore(*self._transactions, self._principal)

    def create(
        self,
        *,
        title: str,
        model: str,
        title_source: TitleSource = "user",
        folder_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> StoredConversation:
        """Create a conversation."""
        now, id, settings = time.time(), f"conv_{secrets.token_hex(12)}", settings or {}
        with self._database.write_transaction() as connection:
            folder = folder_number(connection, folder_id, self._principal)
            number = connection.execute(
                "INSERT INTO conversations (id, title, model, created, updated, owner, folder, settings, title_source)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (id, title, model, now, now, self._principal.owner, folder, settings_to_json(settings), title_source),
            ).lastrowid
            assert number is not None
            check_same_owner(connection, number, folder)
            return load_conversation(connection, number)

    def add_trees(
        self, trees: Sequence[ConversationTree], *, model: str, meta: Mapping[str, Any] | None = None
    ) -> ImportedConversations:
        """Import conversations in one transaction."""
        with self._database.write_transaction() as connection:
            return import_trees(connection, self._principal, trees, model, meta or {})

    def fork(self, conversation_id: str, message_id: str, title: str) -> StoredConversation:
        """Copy the branch that ends with a message to a new conversation."""
        with self._database.write_transaction() as connection:
            number = self._number(connection, conversation_id)
            source = load_conversation(connection, number)
            tree = MessageTree.load(connection, number)
            branch = [node.stored for node in tree.branch(tree.number_of(message_id))]
            copied = tuple(TreeMessage(m.id, m.parent_id, m.message, m.created, m.meta) for m in branch)
            fork = ConversationTree(copied, title=title, model=source.model, settings=source.settings)
            (folder,) = connection.execute("SELECT folder FROM conversations WHERE number = ?", (number,)).fetchone()
            id = insert_tree(connection, fork, source.owner, source.model, {}, None, folder)
            return load_conversation(connection, self._number(connection, id))

    def ensure_branch(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        *,
        title: str = "",
        meta: Mapping[str, Any] | None = None,
    ) -> tuple[str, ...]:
        """Ensure that `messages` is a branch of the tree and return the message ids."""
        meta_json = meta_to_json(meta or {})
        with self._database.write_transaction() as connection:
            number = self._number(connection, conversation_id)
            tree = MessageTree.load(connection, number)
            prefix = tree.match(messages)
            parent = prefix[-1].number if prefix else None
            if title:
                connection.execute(
                    "UPDATE conversations SET title = ? WHERE number = ? AND title = ''", (title, number)
                )
            added = messages[len(prefix) :]
            is_edit = bool(added) and tree.has_generated_answer(parent) and added[0].role == "assistant"
            first_meta = meta_to_json({**(meta or {}), EDITED_META: True}) if is_edit else None
            added_ids = insert_messages(connection, number, parent, added, meta_json, first_meta)
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
        meta_json = meta_to_json(meta or {})
        with self._database.write_transaction() as connection:
            number = self._number(connection, conversation_id)
            return insert_messages(
                connection, number, parent_number(connection, number, parent_id), messages, meta_json
            )

    def update_message(self, message_id: str, *, content: Message | None = None, meta: Mapping[str, Any]) -> None:
        """Update a message or its metadata."""
        meta_json = meta_to_json(meta)
        with self._database.write_transaction() as connection:
            condition, owner = own_records(self._principal)
            row = connection.execute(
                "SELECT messages.number, conversation FROM messages"  # noqa: S608
                f" JOIN conversations ON conversations.number = conversation WHERE messages.id = ? AND {condition}",
                (message_id, *owner),
            ).fetchone()
            if row is None:
                raise NotFound(f"There is no message '{message_id[:60]}'; its conversation may have been deleted.")
            connection.execute("UPDATE messages SET meta = json_patch(meta, ?) WHERE number = ?", (meta_json, row[0]))
            if content is not None:
                connection.execute(
                    "UPDATE messages SET role = ?, content = ?, name = ?, tools = ?, pinned = ? WHERE number = ?",
                    (content.role, content.content, content.name, tools_to_json(content), content.pinned, row[0]),
                )
            set_updated(connection, row[1], time.time())

    def get(self, conversation_id: str) -> StoredConversation:
        """A conversation with its messages."""
        with self._database.read_transaction() as connection:
            number = self._number(connection, conversation_id)
            conversation = load_conversation(connection, number)
            tree = MessageTree.load(connection, number)
        head = None if tree.head is None else tree.nodes[tree.head].stored.id
        branch, all_nodes = tree.branch(tree.head), tuple(tree.nodes.values())
        return replace(conversation, head=head, messages=tree.with_siblings(branch), tree=tree.with_siblings(all_nodes))

    def list(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        query: str = "",
        is_pinned: bool | None = None,
        folder_id: str | None = None,
    ) -> list[StoredConversation]:
        """Conversations without messages, most recently updated first."""
        if limit < 1:
            raise InvalidParameter("limit", f"'limit' must be at least 1, got {limit}.")
        with self._database.read_transaction() as connection:
            return list_conversations(
                connection, self._principal, limit=limit, query=query, is_pinned=is_pinned,
                after=None if after is None else self._number(connection, after),
                folder=folder_number(connection, folder_id, self._principal), is_outside=folder_id == NO_FOLDER,
            )  # fmt: skip

    def list_ids(self, ids: Sequence[str] | None = None) -> Sequence[str]:
        """Ids of all conversations, or of the given ones."""
        with self._database.read_transaction() as connection:
            if ids is None:
                return list_conversation_ids(connection, self._principal)
            for id in ids:
                self._number(connection, id)
        return tuple(dict.fromkeys(ids))

    def select_branch(self, conversation_id: str, message_id: str) -> None:
        """Switch branches: the newest message below `message_id` becomes the head."""
        self.update(conversation_id, ConversationChanges(head=message_id))

    def update(self, conversation_id: str, changes: ConversationChanges) -> None:
        """Change a conversation."""
        assignments: dict[str, Any] = {}
        if changes.title is not None:
            assignments |= {"title": changes.title, "title_source": "user"}
        if changes.is_pinned is not None:
            assignments["pinned"] = changes.is_pinned
        if changes.settings is not None:
            assignments["settings"] = settings_to_json(changes.settings)
        with self._database.write_transaction() as connection:
            number = self._number(connection, conversation_id)
            if changes.folder_id is not None:
                folder = assignments["folder"] = folder_number(connection, changes.folder_id, self._principal)
                check_same_owner(connection, number, folder)
            if changes.head is not None:
                assignments["head"] = MessageTree.load(connection, number).latest_below(changes.head)
            if assignments:
                columns = ", ".join(f"{column} = ?" for column in assignments)
                connection.execute(
                    f"UPDATE conversations SET {columns} WHERE number = ?",  # noqa: S608
                    (*assignments.values(), number),
                )

    def set_generated_title(self, conversation_id: str, title: str) -> bool:
        """Set a title if the present one is made of first words."""
        with self._database.write_transaction() as connection:
            number = self._number(connection, conversation_id)
            cursor = connection.execute(
                "UPDATE conversations SET title = ?, title_source = 'model'"
                " WHERE number = ? AND title_source = 'first_words'",
                (title, number),
            )
            return bool(cursor.rowcount)

    def delete(self, conversation_id: str) -> None:
        """Delete a conversation with its messages."""
        with self._database.write_transaction() as connection:
            number = self._number(connection, conversation_id)
            connection.execute("DELETE FROM conversations WHERE number = ?", (number,))

    def close(self) -> None:
        """Close the database. Safe to call twice."""
        self._database.close()

    @property
    def _transactions(self) -> tuple[Transaction, Transaction]:
        return self._database.read_transaction, self._database.write_transaction

    def _number(self, connection: sqlite3.Connection, conversation_id: str) -> int:
        """Row number of a conversation that is visible. Raises `NotFound`."""
        return conversation_number(connection, conversation_id, self._principal)


_: type[ConversationStore] = SqliteConversationStore  # the type checker compares it with the port
