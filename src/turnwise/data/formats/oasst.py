"""OpenAssistant trees: {"message_tree_id": …, "prompt": {"text": …, "role": …, "replies": […]}} or one message per row.

Each user message is followed by its best-ranked answer; each further user message after an answer starts a dialogue of
its own. Answers that occur in an earlier dialogue of the same tree have weight 0, so that none is trained on twice.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import BadRow, NumberedValue, RowError, RowResult, make_conversation, require_text

MAX_TREE_MESSAGES = 100_000
EXPECTED = '{"message_id": …, "parent_id": …, "text": "…", "role": "prompter"} or trees of "prompt" and "replies"'
EXAMPLE = """\
{"message_tree_id": "t1", "prompt": {"message_id": "m1", "text": "Is it late?", "role": "prompter", "lang": "en", \
"replies": [{"message_id": "m2", "text": "Past nine.", "role": "assistant", "rank": 0, "replies": []}]}}
"""
_USED = {"text", "role", "replies", "message_id", "parent_id", "message_tree_id"}
NumberedMessage = tuple[int, Mapping[str, Any]]


def matches(value: Any) -> float:
    """Certain for both layouts."""
    if not isinstance(value, dict):
        return 0.0
    if {"message_id", "parent_id", "text", "role"} <= value.keys():
        return 1.0
    prompt = value.get("prompt")
    return 1.0 if isinstance(prompt, dict) and isinstance(prompt.get("replies"), list) else 0.0


def combine(rows: Iterable[NumberedValue], context: ParseContext) -> Iterator[RowResult]:
    """Yield the dialogues of every tree. Single messages of a tree must be in consecutive rows."""
    tree: list[NumberedMessage] = []
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        number, value = row
        if isinstance(value, dict) and isinstance(value.get("prompt"), dict):
            yield from _dialogues(number, value["prompt"], value.get("message_tree_id"), context)
        elif isinstance(value, dict) and "message_id" in value:
            if tree and _tree_id(value) != _tree_id(tree[0][1]):
                yield from _dialogues_of_messages(tree, context)
                tree = []
            tree.append((number, value))
            if len(tree) > MAX_TREE_MESSAGES:
                yield BadRow(number, f"the tree has more than {MAX_TREE_MESSAGES:,} messages")
                return
        else:
            yield BadRow(number, "it is neither a tree nor a message with a 'message_id'")
    yield from _dialogues_of_messages(tree, context)


def _tree_id(value: Mapping[str, Any]) -> Any:
    return value.get("message_tree_id")


def _dialogues_of_messages(messages: list[NumberedMessage], context: ParseContext) -> Iterator[RowResult]:
    """Link the messages of a tree to their parents and yield the dialogues of the tree."""
    nodes = {message["message_id"]: {**message, "replies": []} for _, message in messages}
    for number, message in messages:
        parent = message.get("parent_id")
        if parent in nodes:
            nodes[parent]["replies"].append(nodes[message["message_id"]])
        elif parent is not None:
            yield BadRow(
                number, f"its parent message ({parent}) is not in the rows of its tree, which must be consecutive"
            )
    for number, message in messages:
        if message.get("parent_id") is None:
            yield from _dialogues(number, nodes[message["message_id"]], _tree_id(message), context)


def _dialogues(number: int, root: Mapping[str, Any], tree_id: Any, context: ParseContext) -> Iterator[RowResult]:
    try:
        dialogues = list(tree_conversations(root, context))
    except RowError as error:
        yield BadRow(number, str(error))
        return
    if not dialogues:
        yield BadRow(number, "the prompt has no answer")
    context.count_unread(root, {*_USED, "emojis", "labels"})
    meta = {"message_tree_id": tree_id, "lang": root.get("lang")}
    meta = {key: value for key, value in meta.items() if value is not None}
    for dialogue in dialogues:
        yield number, replace(dialogue, meta=meta)


def tree_conversations(root: Mapping[str, Any], context: ParseContext) -> Iterator[Conversation]:
    """Yield a conversation for every path to a leaf along the best-ranked answers. Raises `RowError`."""
    stack: list[tuple[Mapping[str, Any], tuple[Message, ...]]] = [(root, ())]
    while stack:
        node, previous = stack.pop()
        role = context.role(node.get("role"))
        message = Message(role, require_text(node.get("text"), f"the text of a {role} message"))
        path = (*previous, message)
        replies = [reply for reply in node.get("replies") or [] if isinstance(reply, dict) and not reply.get("deleted")]
        if role == "user":
            replies = sorted(replies, key=_rank)[:1]
        if replies:
            # The stack pops the first reply first; it alone keeps the weights of the path.
            for index, reply in reversed(list(enumerate(replies))):
                stack.append((reply, tuple(map(_without_weight, path)) if index else path))
        elif len(path) > 1 or role == "assistant":
            messages = path if role == "assistant" else path[:-1]
            if any(m.role == "assistant" and m.weight for m in messages):
                yield make_conversation(messages, {})


def _without_weight(message: Message) -> Message:
    return replace(message, weight=0.0) if message.role == "assistant" else message


def _rank(node: Mapping[str, Any]) -> float:
    rank = node.get("rank")
    return float(rank) if isinstance(rank, int | float) else float("inf")
