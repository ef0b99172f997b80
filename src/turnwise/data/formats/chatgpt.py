"""ChatGPT: conversations.json of an export; of each tree of messages, the displayed branch."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from turnwise.core.conversation_trees import ConversationTree
from turnwise.core.messages import Conversation, Message
from turnwise.data.message_trees import TreeNode, build_tree, seconds_of
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import RowError, json_type_name, make_conversation, require_mapping

EXPECTED = '{"title": "…", "mapping": {"id": {"message": {…}, "parent": "…"}}, "current_node": "id"}'
EXAMPLE = """\
[{"title": "Mill", "create_time": 1710266760.0, "current_node": "c", "mapping": {
  "a": {"id": "a", "message": null, "parent": null, "children": ["b"]},
  "b": {"id": "b", "message": {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Open?"]}},
        "parent": "a", "children": ["c", "d"]},
  "c": {"id": "c", "message": {"author": {"role": "assistant"},
        "content": {"content_type": "text", "parts": ["Until six."]}}, "parent": "b", "children": []},
  "d": {"id": "d", "message": {"author": {"role": "assistant"},
        "content": {"content_type": "text", "parts": ["No."]}}, "parent": "b", "children": []}}}]
"""


def matches(value: Any) -> float:
    """Certain for a tree of messages."""
    return 1.0 if isinstance(value, dict) and isinstance(value.get("mapping"), dict) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse the displayed branch. Hidden messages and messages without text are skipped. Raises `RowError`."""
    row = require_mapping(value)
    nodes = row.get("mapping")
    if not isinstance(nodes, dict):
        raise RowError("it has no 'mapping'")
    nodes = {id: require_mapping(node) for id, node in nodes.items()}
    messages = [message for node in _branch(nodes, row.get("current_node")) if (message := _message(node, context))]
    meta = {key: row[key] for key in ("title", "create_time") if row.get(key) is not None}
    return make_conversation(messages, meta)


def _branch(nodes: Mapping[str, Any], current: Any) -> list[Mapping[str, Any]]:
    """Return the nodes from the root to the current node, or to the last leaf without a current node."""
    if not isinstance(current, str) or current not in nodes:
        current = next((id for id, node in reversed(list(nodes.items())) if not node.get("children")), None)
    branch: list[Mapping[str, Any]] = []
    visited = set()
    while isinstance(current, str) and current in nodes and current not in visited:
        visited.add(current)
        branch.append(nodes[current])
        current = nodes[current].get("parent")
    return branch[::-1]


def parse_tree(value: Any, context: ParseContext) -> ConversationTree:
    """Parse all branches. Parts that are not text are counted and left out. Raises `RowError`."""
    row = require_mapping(value)
    if not isinstance(row.get("mapping"), dict):
        raise RowError("it has no 'mapping'")
    omitted: list[str] = []
    nodes = [_tree_node(id, require_mapping(node), context, omitted) for id, node in row["mapping"].items()]
    return replace(
        build_tree(nodes, row.get("current_node")),
        title=row["title"] if isinstance(row.get("title"), str) else "",
        source_id=str(row.get("conversation_id") or row.get("id") or ""),
        created=seconds_of(row.get("create_time")), updated=seconds_of(row.get("update_time")),
        num_omitted=len(omitted),
    )  # fmt: skip


def _tree_node(id: str, node: Mapping[str, Any], context: ParseContext, omitted: list[str]) -> TreeNode:
    message = _message(node, context, omitted)
    source = _mapping(node, "message")
    model = _mapping(source, "metadata").get("model_slug")
    meta = {"model": model} if message is not None and message.role == "assistant" and isinstance(model, str) else {}
    parent = node.get("parent")
    return TreeNode(
        id, parent if isinstance(parent, str) else None, message, seconds_of(source.get("create_time")), meta
    )


def _message(node: Mapping[str, Any], context: ParseContext, omitted: list[str] | None = None) -> Message | None:
    """The message of a node; None without text. Types of other parts are added to `omitted`, or raise `RowError`."""
    message = _mapping(node, "message")
    metadata = _mapping(message, "metadata")
    content = "\n".join(_text_parts(message.get("content"), omitted))
    recipient = message.get("recipient") or "all"
    if metadata.get("is_visually_hidden_from_conversation") or not content.strip() or recipient != "all":
        return None
    role = _mapping(message, "author").get("role")
    return None if role == "tool" else Message(context.role(role), content)


def _mapping(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field that is an object; empty if it is missing. Raises `RowError` for anything else."""
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise RowError(f"'{name}' of a node is {json_type_name(value)}, not an object")
    return value or {}


def _text_parts(content: Any, omitted: list[str] | None) -> Iterator[str]:
    if not isinstance(content, dict) or content.get("content_type") not in ("text", "multimodal_text", None):
        return
    parts = content.get("parts") or []
    if not isinstance(parts, list):
        raise RowError(f"'parts' of a message is {json_type_name(parts)}, not a list")
    for entry in parts:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict) and entry.get("content_type") != "audio_transcription":
            type = entry.get("content_type")
            if omitted is None:
                raise RowError(f"a message has a part of type {type!r}, but only text can be trained on")
            omitted.append(str(type))
        elif isinstance(entry, dict):
            yield str(entry.get("text", ""))
