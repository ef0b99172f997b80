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
    """Sure where there are chat messages."""
    return 1.0 if isinstance(value, dict) and isinstance(value.get("chat_messages"), list) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """The conversation in one object; messages without text are left out. Raises `RowError`."""
    row = require_mapping(value)
    if not isinstance(row.get("chat_messages"), list):
        raise RowError("it has no 'chat_messages'")
    messages = []
    for entry in map(require_mapping, row["chat_messages"]):
        parts = entry.get("content") if isinstance(entry.get("content"), list) else []
        texts = [
            str(part.get("text", "")) for part in parts or [] if isinstance(part, dict) and part.get("type") == "text"
        ]
        content = "\n".join(text for text in texts if text.strip()) or str(entry.get("text") or "")
        content = "\n\n".join([*_pasted(entry.get("attachments")), *([content] if content.strip() else [])])
        if content.strip():
            messages.append(Message(context.role(entry.get("sender")), content))
    context.count_unread(row, {"chat_messages", "uuid", "name", "created_at", "summary", "account"})
    meta = {key: row[key] for key in ("uuid", "name", "created_at") if row.get(key)}
    return make_conversation(messages, meta)


def _pasted(attachments: Any) -> Iterator[str]:
    """The texts that were pasted or uploaded along with a message: the question is about them."""
    for attachment in attachments if isinstance(attachments, list) else []:
        pasted = attachment.get("extracted_content") if isinstance(attachment, dict) else None
        if isinstance(pasted, str) and pasted.strip():
            yield pasted
