"""Hashes of conversations for finding duplicates without storing text."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document, Record

# Operators between digits carry meaning: "6 + 4" is not "6 - 4". All other punctuation is removed.
_IGNORED = re.compile(r"(?<=\d)\s*([-+*/^%=<>×÷])\s*(?=[-\d])|[\W_]+")


def normalize_text(text: str) -> str:
    """Normalize case, width, punctuation and white space; text of punctuation only stays unchanged."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return _IGNORED.sub(_operator_or_space, folded).strip() or text.strip()


def _operator_or_space(match: re.Match[str]) -> str:
    return match.group(1) or " "


def exact_duplicate_key(item: Record) -> int:
    """Return a hash of the messages or text; metadata does not count."""
    if isinstance(item, Document):
        return _hash(["document", item.text])
    return _hash(
        text
        for message in item.messages
        for text in (message.role, message.name or "", message.content, *_calls(message))
    )


def near_duplicate_key(item: Record) -> int:
    """Return a hash that ignores case, punctuation, white space and system prompts."""
    if isinstance(item, Document):
        return _hash(["document", normalize_text(item.text)])
    dialogue = [message for message in item.messages if message.role not in ("system", "developer")]
    return _hash(
        text
        for message in dialogue or item.messages
        for text in (message.role, normalize_text(message.content), *_calls(message))
    )


def _calls(message: Message) -> tuple[str, ...]:
    """Return the texts of the tool calls; () without calls, which keeps those hashes stable across versions."""
    return tuple(text for call in message.tool_calls for text in (call.name, call.arguments))


def opening_key(conversation: Conversation) -> int | None:
    """Return a hash of the normalized first user message; None without a user message."""
    opening = next((message.content for message in conversation.messages if message.role == "user"), None)
    return None if opening is None else _hash([normalize_text(opening)])


def _hash(texts: Iterable[str]) -> int:
    """Hash to 64 bits; a collision among a million conversations has a probability of about 3 in 10⁸."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return int.from_bytes(digest.digest(), "big")
