"""Telegram: result.json of an exported chat, or of all chats; --assistant-name NAME sets whose messages are replies."""

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
EXAMPLE_ASSISTANT_NAME = "Ada"


def matches(value: Any) -> float:
    """Certain for one chat, and for an export of all chats."""
    return 1.0 if _chats(value) else 0.0


def _chats(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, dict):
        return []
    chats = value.get("chats")
    candidates = chats.get("list", []) if isinstance(chats, dict) else [value]
    return [chat for chat in candidates if isinstance(chat, dict) and _is_chat(chat.get("messages"))]


def _is_chat(messages: Any) -> bool:
    return isinstance(messages, list) and any(
        isinstance(entry, dict) and entry.get("type") in ("message", "service") and "date" in entry
        for entry in messages[:3]
    )


def parse(value: Any, context: ParseContext) -> list[Record]:
    """Parse every chat into its dialogues. Chats without a message by `assistant_name` are skipped.

    Raises `RowError`.
    """
    require_mapping(value)
    chats = _chats(value)
    if not chats:
        raise RowError("it is not an exported chat")
    dialogues: list[Record] = []
    first_error: SpeakerNotFound | None = None
    for chat in chats:
        posts = [
            ChatPost(
                str(entry.get("from") or entry.get("from_id")), _text(entry.get("text")), parse_time(entry.get("date"))
            )
            for entry in chat["messages"]
            if isinstance(entry, dict) and entry.get("type") == "message"
        ]
        meta = {"chat": chat["name"]} if isinstance(chat.get("name"), str) else {}
        if not any(post.text.strip() for post in posts):
            continue
        try:
            dialogues += [Conversation(dialogue.messages, meta) for dialogue in split_into_dialogues(posts, context)]
        except SpeakerNotFound as error:
            first_error = first_error or error
    if first_error is not None and not dialogues:
        raise first_error
    return dialogues


def _text(value: Any) -> str:
    """Join the text of a message: a text, or a list of texts and of objects with formatted text."""
    if isinstance(value, list):
        return "".join(map(_text, value))
    return str(value.get("text", "")) if isinstance(value, dict) else str(value or "")
