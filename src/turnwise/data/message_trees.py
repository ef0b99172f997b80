"""Trees of messages in exports: orders the nodes, and leaves out those without text."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from turnwise.core.conversation_trees import ConversationTree, TreeMessage
from turnwise.core.messages import Conversation, Message
from turnwise.data.chat_export import parse_time
from turnwise.data.rows import RowError

_EPOCH = datetime.fromtimestamp(0, UTC)
MAX_SECONDS = 1e11  # a larger number is in milliseconds


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of an export; `message` is None for a node without text. Other fields as in `TreeMessage`."""

    id: str
    parent_id: str | None
    message: Message | None
    created: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


def build_tree(nodes: Iterable[TreeNode], head: Any = None) -> ConversationTree:
    """Return the messages of the nodes, parents first. Children of nodes without text move to the nearest ancestor.

    An unknown parent is none. `head` is the id of the last node of the displayed branch; an unknown one is the last
    message. Raises `RowError` for a cycle, or if no node has text.
    """
    by_id = {node.id: node for node in nodes}
    positions = {id: position for position, id in enumerate(by_id)}
    children: dict[str | None, list[TreeNode]] = {}
    for node in by_id.values():
        children.setdefault(node.parent_id if node.parent_id in by_id else None, []).append(node)
    messages: list[TreeMessage] = []
    nearest: dict[str | None, str | None] = {None: None}  # message at or above each node
    # The order of the file, as far as parents precede their children: later messages are newer.
    pending = [(positions[node.id], node.id) for node in children.get(None, [])]
    while pending:
        node = by_id[heapq.heappop(pending)[1]]
        parent_id = nearest[node.parent_id if node.parent_id in by_id else None]
        nearest[node.id] = parent_id if node.message is None else node.id
        if node.message is not None:
            messages.append(TreeMessage(node.id, parent_id, node.message, node.created, node.meta))
        for child in children.get(node.id, []):
            heapq.heappush(pending, (positions[child.id], child.id))
    if len(nearest) <= len(by_id):
        raise RowError("its messages form a cycle")
    if not messages:
        raise RowError("it holds no messages")
    displayed = nearest.get(head) if isinstance(head, str) else None
    return ConversationTree(tuple(messages), displayed)


def displayed_branch(tree: ConversationTree) -> Sequence[TreeMessage]:
    """The messages from the first one to the head."""
    by_id = {entry.id: entry for entry in tree.messages}
    branch: list[TreeMessage] = []
    current: str | None = tree.head or tree.messages[-1].id
    while current is not None:
        branch.append(by_id[current])
        current = by_id[current].parent_id
    return branch[::-1]


def linear_tree(conversation: Conversation) -> ConversationTree:
    """A conversation without branches, as a tree."""
    messages = tuple(
        TreeMessage(str(index), str(index - 1) if index else None, replace(message, weight=1.0))
        for index, message in enumerate(conversation.messages)
    )
    meta = conversation.meta
    title = next((meta[key] for key in ("title", "name") if isinstance(meta.get(key), str)), "")
    source_id = next((str(meta[key]) for key in ("id", "uuid") if meta.get(key)), "")
    created = next((seconds_of(meta[key]) for key in ("create_time", "created_at") if key in meta), None)
    return ConversationTree(messages, title=title, source_id=source_id, created=created)


def seconds_of(value: Any) -> float | None:
    """Unix time in seconds of a time in an export, in seconds, milliseconds or ISO 8601.

    Without a time zone, it is UTC. None if there is no time, or one outside of the years 1 to 9999.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float) and 0 <= value < MAX_SECONDS:
        return float(value)
    if isinstance(value, int | float) and value >= MAX_SECONDS:  # milliseconds
        value = value // 1000 if isinstance(value, int) else value / 1000  # a large integer is no float
    time = parse_time(value)
    if time is None:
        return None
    # Not `timestamp`, which fails for a local time before the year 1.
    return max(0.0, ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH).total_seconds())
