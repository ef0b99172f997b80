"""A conversation's messages as a tree: rows to messages, matching branches, the branch that ends at the head."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from turnwise.core.errors import NotFound
from turnwise.core.messages import Message, Role
from turnwise.core.ports import StoredMessage
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
    """A message with its row number and its parent's."""

    number: int
    parent: int | None
    stored: StoredMessage


@dataclass(frozen=True)
class MessageTree:
    """All messages of one conversation, by ascending row number, and the row number of the head."""

    nodes: Mapping[int, MessageNode]
    head: int | None

    @classmethod
    def load(cls, connection: sqlite3.Connection, conversation: int) -> "MessageTree":
        """Read a conversation's messages."""
        (head,) = connection.execute("SELECT head FROM conversations WHERE number = ?", (conversation,)).fetchone()
        found = connection.execute(
            f"SELECT {_COLUMNS} FROM messages WHERE conversation = ? ORDER BY number",  # noqa: S608
            (conversation,),
        )
        nodes: dict[int, MessageNode] = {}
        for row in map(_Row._make, found):
            parent = None if row.parent is None else nodes[row.parent].stored.id
            nodes[row.number] = MessageNode(row.number, row.parent, _message(row, parent))
        return cls(nodes, head)

    @cached_property
    def children(self) -> Mapping[int | None, Sequence[MessageNode]]:
        """The messages below each message, oldest first; None has the first messages."""
        below: defaultdict[int | None, list[MessageNode]] = defaultdict(list)
        for node in self.nodes.values():
            below[node.parent].append(node)
        return below

    def branch(self, number: int | None) -> tuple[MessageNode, ...]:
        """The messages from a first one to this one."""
        path: list[MessageNode] = []
        while number is not None:
            path.append(self.nodes[number])
            number = self.nodes[number].parent
        return tuple(reversed(path))

    def match(self, messages: Sequence[Message]) -> tuple[MessageNode, ...]:
        """The longest beginning of `messages` that is stored.

        Where several branches hold it, the one that is shown comes first, then the latest.
        """
        level: list[int | None] = [None]
        for message in messages:
            below = [node.number for n in level for node in self.children.get(n, ()) if node.stored.message == message]
            if not below:
                break
            level = list(below)
        shown = {node.number for node in self.branch(self.head)}
        return self.branch(next((number for number in level if number in shown), level[-1]))

    def latest_below(self, message_id: str) -> int:
        """The row number of the latest message of the branches that begin with `message_id`. Raises `NotFound`."""
        start = next((node.number for node in self.nodes.values() if node.stored.id == message_id), None)
        if start is None:
            raise NotFound(f"There is no message '{message_id[:60]}' in this conversation.")
        inside = {start}
        for node in self.nodes.values():  # parents come before their children
            if node.parent in inside:
                inside.add(node.number)
        return max(inside)

    def with_siblings(self, nodes: Sequence[MessageNode]) -> tuple[StoredMessage, ...]:
        """These messages, with the ids of their siblings."""
        siblings = {
            parent: tuple(node.stored.id for node in self.children[parent]) for parent in {n.parent for n in nodes}
        }
        return tuple(replace(node.stored, sibling_ids=siblings[node.parent]) for node in nodes)


def _message(row: _Row, parent_id: str | None) -> StoredMessage:
    message = Message(row.role, row.content, row.name, **tools_from_json(row.tools), pinned=bool(row.pinned))
    return StoredMessage(row.id, row.created, message, json.loads(row.meta), parent_id)
