"""Claude: conversations.json of an export, {"chat_messages": [{"sender": "human", "text": …}]} in one array."""

from collections.abc import Iterator
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import RowError, make_conversation, require_mapping

EXPECTED = '{"uuid": …, "name": "…", "chat_messages": [{"sender": "human", "text": "…"}]}'
EXAMPLE = """\
[{"uuid": "u1", "name": "Mill", "created_at": "2024-03-12T18:06:00Z", "chat_messages": [
  {"uuid": "m1", "text": "Open?", "content": [{"type": "text", "text": "Open?"}], "sender": "human"},
  {"uuid": "m2", "text": "", "content": [{"type": "text", "text": "Until six."}], "sender": "assistant"}]}]
"""


def matches(value: Any) -> float:
    """Certain if there are chat messages."""
    return 1.0 if isinstance(value, dict) and isinstance(value.get("chat_messages"), list) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse one object; messages without text are skipped. Raises `RowError`."""
    row = require_mapping(value)
    if not isinstance(row.get("chat_messages"), list):
        raise RowError("it has no 'chat_messages'")
    messages = []
    for entry in map(require_mapping, row["chat_messages"]):
        blocks = entry.get("content") if isinstance(entry.get("content"), list) else []
        texts = [
            str(block.get("text", ""))
            for block in blocks or []
            if isinstance(block, dict) and block.get("type") == "text"
        ]
        content = "\n".join(text for text in texts if text.strip()) or str(entry.get("text") or "")
        content = "\n\n".join([*_attached_texts(entry.get("attachments")), *([content] if content.strip() else [])])
        if content.strip():
            messages.append(Message(context.role(entry.get("sender")), content))
    context.count_unread(row, {"chat_messages", "uuid", "name", "created_at", "summary", "account"})
    meta = {key: row[key] for key in ("uuid", "name", "created_at") if row.get(key)}
    return make_conversation(messages, meta)


def _attached_texts(attachments: Any) -> Iterator[str]:
    """Yield the texts pasted into or uploaded with a message, which the question is about."""
    for attachment in attachments if isinstance(attachments, list) else []:
        text = attachment.get("extracted_content") if isinstance(attachment, dict) else None
        if isinstance(text, str) and text.strip():
            yield text
