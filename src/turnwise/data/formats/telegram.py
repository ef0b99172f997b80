"""Telegram: result.json of an exported chat, or of all chats; --me NAME says whose messages are the replies."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.messages import Conversation
from turnwise.data.chat_export import ChatPost, parse_time, split_into_dialogues
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import Record, RowError, SpeakerNotFound, require_mapping

EXPECTED = '{"name": "…", "type": "personal_chat", "messages": [{"type": "message", "from": "Ada", "text": "…"}]}'
EXAMPLE = """\
{
 "name": "Bob", "type": "personal_chat", "id": 1,
 "messages": [
  {"id": 1, "type": "message", "date": "2024-03-12T18:06:00", "from": "Bob", "from_id": "user2", "text": "Open?"},
  {"id": 2, "type": "message", "date": "2024-03-12T18:07:00", "from": "Ada", "from_id": "user1",
   "text": ["Until ", {"type": "bold", "text": "six"}, "."]}
 ]
}
"""
EXAMPLE_ME = "Ada"


def matches(value: Any) -> float:
    """Sure of one chat, and of the export of all."""
    return 1.0 if _chats(value) else 0.0


def _chats(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, dict):
        return []
    chats = value.get("chats")
    found = chats.get("list", []) if isinstance(chats, dict) else [value]
    return [chat for chat in found if isinstance(chat, dict) and _is_chat(chat.get("messages"))]


def _is_chat(messages: Any) -> bool:
    return isinstance(messages, list) and any(
        isinstance(entry, dict) and entry.get("type") in ("message", "service") and "date" in entry
        for entry in messages[:3]
    )


def parse(value: Any, context: ParseContext) -> list[Record]:
    """The dialogues of every chat; those in which `--me` says nothing are left out. Raises `RowError`."""
    require_mapping(value)
    chats = _chats(value)
    if not chats:
        raise RowError("it is no exported chat")
    found: list[Record] = []
    absent: SpeakerNotFound | None = None
    for chat in chats:
        posts = [
            ChatPost(
                str(entry.get("from") or entry.get("from_id")), _text(entry.get("text")), parse_time(entry.get("date"))
            )
            for entry in chat["messages"]
            if isinstance(entry, dict) and entry.get("type") == "message"
        ]
        name = {"chat": chat["name"]} if isinstance(chat.get("name"), str) else {}
        if not any(post.text.strip() for post in posts):
            continue
        try:
            found += [Conversation(dialogue.messages, name) for dialogue in split_into_dialogues(posts, context)]
        except SpeakerNotFound as error:
            absent = absent or error
    if absent is not None and not found:
        raise absent
    return found


def _text(value: Any) -> str:
    """A text, or a list of texts and of objects with formatted ones."""
    if isinstance(value, list):
        return "".join(map(_text, value))
    return str(value.get("text", "")) if isinstance(value, dict) else str(value or "")
