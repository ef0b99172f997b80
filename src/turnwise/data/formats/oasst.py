"""OpenAssistant trees: {"message_tree_id": …, "prompt": {"text": …, "role": …, "replies": […]}} or one message per row.

At each prompt the best-ranked answer goes on, and every further prompt opens a dialogue of its own. Answers that an
earlier dialogue of the same tree has had weigh nothing, so none is learned twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.formats import NumberedValues
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import BadRow, RowError, RowResult, make_conversation, require_text

MAX_TREE = 100_000  # messages
EXPECTED = '{"message_id": …, "parent_id": …, "text": "…", "role": "prompter"} or trees of "prompt" and "replies"'
EXAMPLE = """\
{"message_tree_id": "t1", "prompt": {"message_id": "m1", "text": "Is it late?", "role": "prompter", "lang": "en", \
"replies": [{"message_id": "m2", "text": "Past nine.", "role": "assistant", "rank": 0, "replies": []}]}}
"""
_USED = {"text", "role", "replies", "message_id", "parent_id", "message_tree_id"}


def matches(value: Any) -> float:
    """Sure of both layouts."""
    if not isinstance(value, dict):
        return 0.0
    if {"message_id", "parent_id", "text", "role"} <= value.keys():
        return 1.0
    prompt = value.get("prompt")
    return 1.0 if isinstance(prompt, dict) and isinstance(prompt.get("replies"), list) else 0.0


def combine(rows: NumberedValues, context: ParseContext) -> Iterator[RowResult]:
    """The dialogues of every tree; messages that stand alone are gathered by tree, the rows of which stand together."""
    held: list[tuple[int, Mapping[str, Any]]] = []
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        number, value = row
        if isinstance(value, dict) and isinstance(value.get("prompt"), dict):
            yield from _dialogues(number, value["prompt"], value.get("message_tree_id"), context)
        elif isinstance(value, dict) and "message_id" in value:
            if held and _tree(value) != _tree(held[0][1]):
                yield from _gathered(held, context)
                held = []
            held.append((number, value))
            if len(held) > MAX_TREE:
                yield BadRow(number, f"the tree has more than {MAX_TREE:,} messages")
                return
        else:
            yield BadRow(number, "it is neither a tree nor a message with a 'message_id'")
    yield from _gathered(held, context)


def _tree(value: Mapping[str, Any]) -> Any:
    return value.get("message_tree_id")


def _gathered(held: list[tuple[int, Mapping[str, Any]]], context: ParseContext) -> Iterator[RowResult]:
    nodes = {value["message_id"]: {**value, "replies": []} for _, value in held}
    for number, value in held:
        parent = value.get("parent_id")
        if parent in nodes:
            nodes[parent]["replies"].append(nodes[value["message_id"]])
        elif parent is not None:
            yield BadRow(
                number, f"the message it answers ({parent}) is not among the rows of its tree, which stand together"
            )
    for number, value in held:
        if value.get("parent_id") is None:
            yield from _dialogues(number, nodes[value["message_id"]], _tree(value), context)


def _dialogues(number: int, root: Mapping[str, Any], tree: Any, context: ParseContext) -> Iterator[RowResult]:
    try:
        found = list(tree_conversations(root, context))
    except RowError as error:
        yield BadRow(number, str(error))
        return
    if not found:
        yield BadRow(number, "nobody answered the prompt")
    meta = {**({"message_tree_id": tree} if tree is not None else {}), **_meta(root, context)}
    for dialogue in found:
        yield number, replace(dialogue, meta=meta)


def _meta(root: Mapping[str, Any], context: ParseContext) -> dict[str, Any]:
    kept = {key: root[key] for key in ("lang",) if root.get(key) is not None}
    context.count_unread(root, {*_USED, "emojis", "labels"})
    return kept


def tree_conversations(root: Mapping[str, Any], context: ParseContext) -> Iterator[Conversation]:
    """Every path to the end of the tree along best-ranked answers. Raises `RowError`."""
    stack: list[tuple[Mapping[str, Any], tuple[Message, ...]]] = [(root, ())]
    while stack:
        node, before = stack.pop()
        role = context.role(node.get("role"))
        message = Message(role, require_text(node.get("text"), f"the text of a {role} message"))
        path = (*before, message)
        replies = [reply for reply in node.get("replies") or [] if isinstance(reply, dict) and not reply.get("deleted")]
        if role == "user":
            replies = sorted(replies, key=_rank)[:1]
        if replies:
            for later, reply in reversed(list(enumerate(replies))):
                stack.append((reply, tuple(map(_without_weight, path)) if later else path))
        elif len(path) > 1 or role == "assistant":
            trimmed = path if role == "assistant" else path[:-1]
            if any(m.role == "assistant" and m.weight for m in trimmed):
                yield make_conversation(trimmed, {})


def _without_weight(message: Message) -> Message:
    return replace(message, weight=0.0) if message.role == "assistant" else message


def _rank(node: Mapping[str, Any]) -> float:
    rank = node.get("rank")
    return float(rank) if isinstance(rank, int | float) else float("inf")
