"""What a format hands over: rows that are a conversation or a document, and rows that are neither, with the reason.

A format's parser raises `RowError` for a row it cannot use and `Unreadable` when no row of the file can be.
"""

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.messages import Conversation, Message

HALF_A_PAIR = "it holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"


class RowError(ValueError):
    """This row cannot be used; the message is a sentence without its full stop."""


class UnreadableFile(ValueError):
    """No row of this file can be used; the message is one or more sentences."""


class SpeakerAbsent(UnreadableFile):
    """Nobody in this chat is the person whose messages are the replies; other chats may have them."""


@dataclass(frozen=True, slots=True)
class Document:
    """Plain text, for language modelling."""

    text: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, the line it starts on and why."""

    line: int
    reason: str


Record = Conversation | Document
RowResult = tuple[int, Record] | BadRow


@dataclass(frozen=True, slots=True)
class FileSample:
    """The beginning of a file: its name without a compression's suffix, its first bytes, and these as text."""

    name: str
    head: bytes
    text: str
    is_complete: bool = True

    @classmethod
    def of(cls, name: str, head: bytes, *, is_complete: bool = True) -> "FileSample":
        """The sample of a file called `name` that begins with `head`."""
        text = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace")
        return cls(name.lower().removesuffix(".gz"), head, text, is_complete)

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on, in lower case."""
        return self.name[self.name.rfind(".") :] if "." in self.name else ""


def make_conversation(messages: Iterable[Message], meta: Mapping[str, Any]) -> Conversation:
    """A conversation. Raises `RowError` where there are no messages."""
    messages = tuple(messages)
    if not messages:
        raise RowError("it holds no messages")
    return Conversation(messages, meta)


def parse_rating(row: Mapping[str, Any], key: str) -> bool | None:
    """Whether somebody found it good, under `key`; None where it does not say. Raises `RowError`."""
    value = row.get(key)
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    raise RowError(f"'{key}' is {value!r}, not true or false")


def require_text(value: Any, what: str) -> str:
    """`value` if it is text with something in it. Raises `RowError` that says `what` it should have been."""
    if not isinstance(value, str):
        raise RowError(f"{what} is {json_type_name(value)}, not text")
    if not value.strip():
        raise RowError(f"{what} is empty")
    return value


def require_mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object. Raises `RowError`."""
    if not isinstance(value, dict):
        raise RowError(f"it is {json_type_name(value)}, not an object with keys")
    return value


def json_type_name(value: Any) -> str:
    """What JSON calls the kind of `value`."""
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "text" if isinstance(value, str) else "an object")
