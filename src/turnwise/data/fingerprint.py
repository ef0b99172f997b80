"""Short hashes by which conversations are recognised again, so that no text need be kept."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document, Record

# Signs between digits carry the meaning of a sum: "6 + 4" is not "6 - 4". All other punctuation goes.
_NOISE = re.compile(r"(?<=\d)\s*([-+*/^%=<>×÷])\s*(?=[-\d])|[\W_]+")


def normalize_text(text: str) -> str:
    """`text` without what writers vary: case, width, punctuation and white space. Only signs are kept as they are."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return _NOISE.sub(_sign_or_space, folded).strip() or text.strip()


def _sign_or_space(found: re.Match[str]) -> str:
    return found.group(1) or " "


def exact_duplicate_key(item: Record) -> int:
    """The same for items that say exactly the same; what is known beside the text does not count."""
    if isinstance(item, Document):
        return _hash(["document", item.text])
    return _hash(
        part
        for message in item.messages
        for part in (message.role, message.name or "", message.content, *_calls(message))
    )


def near_duplicate_key(item: Record) -> int:
    """The same for items that differ in case, punctuation and white space only.

    System prompts do not count: a dialogue seen under another prompt is still a dialogue that has been seen.
    """
    if isinstance(item, Document):
        return _hash(["document", normalize_text(item.text)])
    spoken = [message for message in item.messages if message.role not in ("system", "developer")]
    return _hash(
        part
        for message in spoken or item.messages
        for part in (message.role, normalize_text(message.content), *_calls(message))
    )


def _calls(message: Message) -> tuple[str, ...]:
    """The tool calls of a message; nothing for a message without, so that it keeps the hash it always had."""
    return tuple(text for call in message.tool_calls for text in (call.name, call.arguments))


def opening_key(conversation: Conversation) -> int | None:
    """The same for dialogues that open with the same user turn, near enough; None without a user turn."""
    opening = next((message.content for message in conversation.messages if message.role == "user"), None)
    return None if opening is None else _hash([normalize_text(opening)])


def _hash(parts: Iterable[str]) -> int:
    """64 bits: among a million conversations a chance meeting is a one in ten million event."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return int.from_bytes(digest.digest(), "big")
