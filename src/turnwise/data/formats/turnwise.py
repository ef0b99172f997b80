"""Turnwise: exported conversations with all branches, one per line; of each tree, the displayed branch.

`write_tree` writes what `parse_tree` reads.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from turnwise.core.collected_answers import CONSENTS
from turnwise.core.conversation_trees import ConversationTree
from turnwise.core.messages import Conversation, Message, ToolCall
from turnwise.core.stored_conversations import StoredConversation
from turnwise.data.message_trees import TreeNode, build_tree, displayed_branch, seconds_of
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import RowError, json_type_name, make_conversation, require_mapping

OBJECT = "turnwise.conversation"
KEPT_META = ("model", "finish", "consent")  # of a message; the rest belongs to the server that answered
EXPECTED = '{"object": "turnwise.conversation", "messages": [{"id": "…", "parent_id": null, "role": "user", …}, …]}'
EXAMPLE = """\
{"object": "turnwise.conversation", "title": "Mill", "head": "b", "messages": [\
{"id": "a", "parent_id": null, "role": "user", "content": "Open?"}, \
{"id": "b", "parent_id": "a", "role": "assistant", "content": "Until six."}, \
{"id": "c", "parent_id": "a", "role": "assistant", "content": "No."}]}
"""


def matches(value: Any) -> float:
    """Certain for the name of the object."""
    return 1.0 if isinstance(value, dict) and value.get("object") == OBJECT else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse the displayed branch. Raises `RowError`."""
    tree = parse_tree(value, context)
    meta = {"title": tree.title} if tree.title else {}
    return make_conversation([entry.message for entry in displayed_branch(tree)], meta)


def parse_tree(value: Any, context: ParseContext) -> ConversationTree:
    """Parse all branches. Raises `RowError`."""
    row = require_mapping(value)
    entries = row.get("messages")
    if not isinstance(entries, list):
        raise RowError("it has no list of 'messages'")
    nodes = [_node(require_mapping(entry), number, context) for number, entry in enumerate(entries, start=1)]
    if len({node.id for node in nodes}) < len(nodes):
        raise RowError("two messages have the same 'id'")
    settings = row.get("settings") or {}
    if not isinstance(settings, dict):
        raise RowError(f"'settings' is {json_type_name(settings)}, not an object")
    texts = {name: row.get(name) or "" for name in ("title", "id", "model", "folder")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise RowError(f"'{name}' is {json_type_name(text)}, not text")
    return replace(
        build_tree(nodes, row.get("head")),
        title=texts["title"], source_id=texts["id"], model=texts["model"], folder=texts["folder"], settings=settings,
        created=seconds_of(row.get("created")), updated=seconds_of(row.get("updated")),
        is_pinned=row.get("pinned") is True,
    )  # fmt: skip


def write_tree(conversation: StoredConversation, folder: str) -> str:
    """A conversation of the store as a line; `folder` is the name of its folder, or "" without one."""
    messages = []
    for stored in conversation.tree:
        message = stored.message
        fields: dict[str, Any] = {
            "id": stored.id, "parent_id": stored.parent_id, "created": stored.created, "role": message.role,
            "content": message.content, "name": message.name, "tool_call_id": message.tool_call_id,
            "tool_calls": [asdict(call) for call in message.tool_calls] or None, "pinned": message.pinned or None,
            "meta": {name: stored.meta[name] for name in KEPT_META if name in stored.meta} or None,
        }  # fmt: skip
        required = ("id", "parent_id", "role", "content")
        messages.append({name: entry for name, entry in fields.items() if entry is not None or name in required})
    row = {
        "object": OBJECT, "id": conversation.id, "title": conversation.title, "model": conversation.model,
        "created": conversation.created, "updated": conversation.updated, "pinned": conversation.is_pinned,
        "folder": folder, "settings": dict(conversation.settings), "head": conversation.head, "messages": messages,
    }  # fmt: skip
    return json.dumps(row, ensure_ascii=False) + "\n"


def _node(entry: Mapping[str, Any], number: int, context: ParseContext) -> TreeNode:
    id, parent_id, content = entry.get("id"), entry.get("parent_id"), entry.get("content")
    if not isinstance(id, str) or not id:
        raise RowError(f"message {number} has no 'id'")
    if not isinstance(content, str):
        raise RowError(f"the content of message {number} is {json_type_name(content)}, not text")
    name, call_id = entry.get("name"), entry.get("tool_call_id")
    message = Message(
        context.role(entry.get("role")), content, name if isinstance(name, str) else None,
        _calls(entry.get("tool_calls") or [], number), call_id if isinstance(call_id, str) else None,
        pinned=entry.get("pinned") is True,
    )  # fmt: skip
    source = entry.get("meta")
    meta = (
        {key: source[key] for key in KEPT_META if isinstance(source.get(key), str)} if isinstance(source, dict) else {}
    )
    if meta.get("consent") not in CONSENTS:
        meta["consent"] = "off"  # nobody agreed to more
    if meta.get("finish") == "in_progress":
        meta["finish"] = "cancelled"  # nobody continues to write it
    return TreeNode(
        id, parent_id if isinstance(parent_id, str) else None, message, seconds_of(entry.get("created")), meta
    )


def _calls(value: Any, number: int) -> tuple[ToolCall, ...]:
    try:
        calls = tuple(ToolCall(**call) for call in value)
    except TypeError:
        raise RowError(f"the tool calls of message {number} are invalid") from None
    fields = [field for call in calls for field in (call.id, call.name, call.arguments)]
    if not all(isinstance(field, str) for field in fields) or any(c.kind not in ("function", "custom") for c in calls):
        raise RowError(f"the tool calls of message {number} are invalid")
    return calls
