"""Open WebUI: chats of an export, each with a tree of messages; of each tree, the displayed branch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from turnwise.core.conversation_trees import ConversationTree
from turnwise.core.messages import Conversation, Message
from turnwise.data.message_trees import TreeNode, build_tree, displayed_branch, seconds_of
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import RowError, make_conversation, require_mapping

EXPECTED = '{"title": "…", "chat": {"history": {"messages": {"id": {"role": "user", …}}, "currentId": "id"}}}'
EXAMPLE = """\
[{"id": "c1", "title": "Mill", "created_at": 1710266760, "chat": {"models": ["llama3"], "history": {"currentId": "b",
  "messages": {
    "a": {"id": "a", "parentId": null, "childrenIds": ["b", "c"], "role": "user", "content": "Open?"},
    "b": {"id": "b", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "Until six."},
    "c": {"id": "c", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "No."}}}}}]
"""


def matches(value: Any) -> float:
    """Certain for a tree of messages."""
    return 1.0 if isinstance(value, dict) and isinstance(_history(value).get("messages"), dict) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse the displayed branch. Messages without text are skipped. Raises `RowError`."""
    tree = parse_tree(value, context)
    if tree.num_omitted:
        raise RowError("a message has a file or a part that is not text, but only text can be trained on")
    meta = {"title": tree.title} if tree.title else {}
    return make_conversation([entry.message for entry in displayed_branch(tree)], meta)


def parse_tree(value: Any, context: ParseContext) -> ConversationTree:
    """Parse all branches. Files and parts that are not text are counted and left out. Raises `RowError`."""
    row = require_mapping(value)
    chat, history = _chat(row), _history(row)
    if not isinstance(history.get("messages"), dict):
        raise RowError("it has no 'chat.history.messages'")
    omitted: list[str] = []
    nodes = [_node(id, require_mapping(node), context, omitted) for id, node in history["messages"].items()]
    params = chat.get("params")
    system = params.get("system") if isinstance(params, dict) else None
    models = chat.get("models")
    title = next((source["title"] for source in (row, chat) if isinstance(source.get("title"), str)), "")
    return replace(
        build_tree(nodes, history.get("currentId")),
        title=title,
        source_id=str(row.get("id") or chat.get("id") or ""),
        model=str(models[0]) if isinstance(models, list) and models else "",
        created=seconds_of(row.get("created_at") or chat.get("timestamp")), updated=seconds_of(row.get("updated_at")),
        is_pinned=row.get("pinned") is True,
        settings={"system": system} if isinstance(system, str) and system.strip() else {},
        num_omitted=len(omitted),
    )  # fmt: skip


def _chat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    chat = row.get("chat")
    return chat if isinstance(chat, dict) else row


def _history(row: Mapping[str, Any]) -> Mapping[str, Any]:
    history = _chat(row).get("history")
    return history if isinstance(history, dict) else {}


def _node(id: str, node: Mapping[str, Any], context: ParseContext, omitted: list[str]) -> TreeNode:
    parent, model = node.get("parentId"), node.get("model")
    content = _text(node.get("content"), omitted)
    files = node.get("files")
    omitted += ["file"] * (len(files) if isinstance(files, list) else 0)
    message = Message(context.role(node.get("role")), content) if content.strip() else None
    is_answer = message is not None and message.role == "assistant"
    meta = {"model": model} if is_answer and isinstance(model, str) and model else {}
    return TreeNode(id, parent if isinstance(parent, str) else None, message, seconds_of(node.get("timestamp")), meta)


def _text(content: Any, omitted: list[str]) -> str:
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = []
    for entry in content:
        text = entry.get("text") if isinstance(entry, dict) else entry
        if isinstance(text, str):
            texts.append(text)
        else:
            omitted.append("part")
    return "\n".join(texts)
