"""The messages of a conversation as a tree: loading, matching of branches, the current branch."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from turnwise.core.errors import NotFound
from turnwise.core.messages import Message, Role
from turnwise.core.stored_messages import StoredMessage
from turnwise.store.sqlite.tool_columns import tools_from_json


class _Row(NamedTuple):
    number: int
    parent: int | None
    id: str
    created: float
    role: Role
    content: str
    name: str | None
    tools: str | None
    meta: str
    pinned: int


_COLUMNS = ", ".join(_Row._fields)


class MessageNode(NamedTuple):
    """A message with its row number and the row number of its parent."""

    number: int
    parent: int | None
    stored: StoredMessage


@dataclass(frozen=True)
class MessageTree:
    """All messages of a conversation by ascending row number, and the row number of the head."""

    nodes: Mapping[int, MessageNode]
    head: int | None

    @classmethod
    def load(cls, connection: sqlite3.Connection, conversation: int) -> "MessageTree":
        """Load the messages of a conversation."""
        (head,) = connection.execute("SELECT head FROM conversations WHERE number = ?", (conversation,)).fetchone()
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM messages WHERE conversation = ? ORDER BY number",  # noqa: S608
            (conversation,),
        )
        nodes: dict[int, MessageNode] = {}
        for row in map(_Row._make, rows):
            parent = None if row.parent is None else nodes[row.parent].stored.id
            nodes[row.number] = MessageNode(row.number, row.parent, _message(row, parent))
        return cls(nodes, head)

    @cached_property
    def children(self) -> Mapping[int | None, Sequence[MessageNode]]:
        """Children of each message, oldest first. The children of None are the first messages."""
        children_of: defaultdict[int | None, list[MessageNode]] = defaultdict(list)
        for node in self.nodes.values():
            children_of[node.parent].append(node)
        return children_of

    def branch(self, number: int | None) -> tuple[MessageNode, ...]:
        """The path from a first message to message `number`."""
        path: list[MessageNode] = []
        while number is not None:
            path.append(self.nodes[number])
            number = self.nodes[number].parent
        return tuple(reversed(path))

    def match(self, messages: Sequence[Message]) -> tuple[MessageNode, ...]:
        """The longest stored prefix of `messages`. Prefers the current branch, then the newest one."""
        level: list[int | None] = [None]
        for message in messages:
            matches = [
                node.number
                for parent in level
                for node in self.children.get(parent, ())
                if node.stored.message == message
            ]
            if not matches:
                break
            level = list(matches)
        current = {node.number for node in self.branch(self.head)}
        return self.branch(next((number for number in level if number in current), level[-1]))

    def has_generated_answer(self, parent: int | None) -> bool:
        """True if a model has answered below message `parent`."""
        return parent is not None and any(
            node.stored.message.role == "assistant" and "finish" in node.stored.meta
            for node in self.children.get(parent, ())
        )

    def number_of(self, message_id: str) -> int:
        """Row number of a message. Raises `NotFound`."""
        number = next((node.number for node in self.nodes.values() if node.stored.id == message_id), None)
        if number is None:
            raise NotFound(f"There is no message '{message_id[:60]}' in this conversation.")
        return number

    def latest_below(self, message_id: str) -> int:
        """Row number of the newest message at or below `message_id`. Raises `NotFound`."""
        descendants = {self.number_of(message_id)}
        for node in self.nodes.values():  # parents have lower numbers than their children
            if node.parent in descendants:
                descendants.add(node.number)
        return max(descendants)

    def with_siblings(self, nodes: Sequence[MessageNode]) -> tuple[StoredMessage, ...]:
        """The messages with the ids of their siblings."""
        siblings = {
            parent: tuple(node.stored.id for node in self.children[parent]) for parent in {n.parent for n in nodes}
        }
        return tuple(replace(node.stored, sibling_ids=siblings[node.parent]) for node in nodes)


def _message(row: _Row, parent_id: str | None) -> StoredMessage:
    message = Message(row.role, row.content, row.name, **tools_from_json(row.tools), pinned=bool(row.pinned))
    return StoredMessage(row.id, row.created, message, json.loads(row.meta), parent_id)
