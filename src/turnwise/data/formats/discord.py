"""Discord: a channel exported by DiscordChatExporter (JSON); --assistant-name NAME sets whose messages are replies."""

from typing import Any

from turnwise.core.messages import Conversation
from turnwise.data.chat_export import ChatPost, parse_time, split_into_dialogues
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import Record, RowError, require_mapping

EXPECTED = '{"channel": {…}, "messages": [{"timestamp": "…", "content": "…", "author": {"name": "Ada"}}]}'
EXAMPLE = """\
{
  "guild": {"id": "1", "name": "Mill"},
  "channel": {"id": "2", "type": "GuildTextChat", "name": "general"},
  "messages": [
    {"id": "3", "type": "Default", "timestamp": "2024-03-12T18:06:00+00:00", "content": "Open?",
     "author": {"id": "8", "name": "bob", "nickname": "Bob"}},
    {"id": "4", "type": "Reply", "timestamp": "2024-03-12T18:07:00+00:00", "content": "Until six.",
     "author": {"id": "9", "name": "ada", "nickname": "Ada"}}
  ]
}
"""
EXAMPLE_ASSISTANT_NAME = "Ada"


def matches(value: Any) -> float:
    """Certain if there is a channel, and messages whose authors are objects."""
    if not isinstance(value, dict) or not isinstance(value.get("channel"), dict):
        return 0.0
    messages = value.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else {}
    return 1.0 if isinstance(first, dict) and isinstance(first.get("author"), dict) else 0.0


def parse(value: Any, context: ParseContext) -> list[Record]:
    """Parse a channel into its dialogues. Raises `RowError`."""
    row = require_mapping(value)
    if not isinstance(row.get("messages"), list):
        raise RowError("it has no 'messages'")
    posts = []
    for entry in row["messages"]:
        author = entry.get("author") if isinstance(entry, dict) else None
        if isinstance(author, dict) and entry.get("type", "Default") in ("Default", "Reply"):
            speaker = str(author.get("nickname") or author.get("name"))
            if context.assistant_name is not None and context.assistant_name.lower() == str(author.get("name")).lower():
                speaker = context.assistant_name
            posts.append(ChatPost(speaker, str(entry.get("content") or ""), parse_time(entry.get("timestamp"))))
    channel = row.get("channel")
    meta = {"channel": channel["name"]} if isinstance(channel, dict) and "name" in channel else {}
    return [Conversation(dialogue.messages, meta) for dialogue in split_into_dialogues(posts, context)]
