"""Rows on their way through the parsers: values with their numbers, conversations, documents and bad rows.

A parser raises `RowError` for a row it cannot use and `UnreadableFile` if no row of the file can be used.
"""

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.messages import Conversation, Message

LONE_SURROGATE = "it holds half of a surrogate pair (\\ud800 to \\udfff), which is not a character"


class RowError(ValueError):
    """The row cannot be used. The message is a sentence without full stop."""


class UnreadableFile(ValueError):
    """No row of the file can be used. The message is one or more sentences."""


class SpeakerNotFound(UnreadableFile):
    """No message of this chat is by the person `assistant_name`; other chats of the export may have some."""


@dataclass(frozen=True, slots=True)
class Document:
    """Plain text, for language modelling."""

    text: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, with its first line and the reason."""

    line: int
    reason: str


Record = Conversation | Document
# With the number of the line or row at which it starts:
NumberedLine = tuple[int, str] | BadRow
NumberedValue = tuple[int, Any] | BadRow  # a JSON-like value
RowResult = tuple[int, Record] | BadRow


@dataclass(frozen=True, slots=True)
class FileSample:
    """The first bytes of a file, for format detection.

    Attributes:
        name: lower-case file name without the suffix of a compression.
        head: first bytes.
        text: `head` decoded as UTF-8.
        is_complete: True if `head` is the entire file.
    """

    name: str
    head: bytes
    text: str
    is_complete: bool = True

    @classmethod
    def of(cls, name: str, head: bytes, *, is_complete: bool = True) -> "FileSample":
        """Create a sample from a file name and its first bytes."""
        text = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace")
        return cls(name.lower().removesuffix(".gz"), head, text, is_complete)

    @property
    def suffix(self) -> str:
        """File name suffix with its dot, in lower case; "" without one."""
        return self.name[self.name.rfind(".") :] if "." in self.name else ""


def make_conversation(messages: Iterable[Message], meta: Mapping[str, Any]) -> Conversation:
    """Create a conversation. Raises `RowError` if there are no messages."""
    messages = tuple(messages)
    if not messages:
        raise RowError("it holds no messages")
    return Conversation(messages, meta)


def parse_rating(row: Mapping[str, Any], key: str) -> bool | None:
    """Return the boolean rating under `key`; None if missing. Raises `RowError` for another value."""
    value = row.get(key)
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    raise RowError(f"'{key}' is {value!r}, not true or false")


def require_text(value: Any, name: str) -> str:
    """Return `value` if it is non-blank text, else raise `RowError`; messages call it `name`."""
    if not isinstance(value, str):
        raise RowError(f"{name} is {json_type_name(value)}, not text")
    if not value.strip():
        raise RowError(f"{name} is empty")
    return value


def require_mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, else raise `RowError`."""
    if not isinstance(value, dict):
        raise RowError(f"it is {json_type_name(value)}, not an object with keys")
    return value


def json_type_name(value: Any) -> str:
    """Return the JSON type name of a value, for messages."""
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "text" if isinstance(value, str) else "an object")
