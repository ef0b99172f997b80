"""What a format hands over: rows that are a conversation or a document, and rows that are neither, with the reason.

A format's parser raises `RowError` for a row it cannot use and `Unreadable` when no row of the file can be.
"""

import codecs
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from turnwise.core.errors import did_you_mean
from turnwise.core.messages import Conversation, Message, Role

_SPEAKERS: dict[Role, tuple[str, ...]] = {
    "system": ("system", "系统"),
    "developer": ("developer",),
    "user": ("user", "human", "customer", "client", "prompter", "question", "q", "用户", "客户", "问", "顾客"),
    "assistant": (
        "assistant", "gpt", "bot", "agent", "ai", "model", "chatbot", "chatgpt", "answer", "a", "助手", "客服", "答",
    ),
    "tool": ("tool", "function", "observation"),
}  # fmt: skip
ROLE_OF_SPEAKER: dict[str, Role] = {name: role for role, names in _SPEAKERS.items() for name in names}


class RowError(ValueError):
    """This row cannot be used; the message is a sentence without its full stop."""


class Unreadable(ValueError):
    """No row of this file can be used; the message is one or more sentences."""


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


Item = Conversation | Document
Row = tuple[int, Item] | BadRow


@dataclass(frozen=True, slots=True)
class Sample:
    """What a format may look at to recognise a file: its name without `.gz` and its first decompressed bytes.

    `text` is the beginning as text, `record` the first JSON object in it, where there is one.
    """

    name: str
    head: bytes
    text: str
    record: Mapping[str, Any] | None

    @classmethod
    def of(cls, name: str, head: bytes) -> "Sample":
        """The sample of a file called `name` that begins with `head`."""
        text = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace")
        return cls(name.lower().removesuffix(".gz"), head, text, _first_record(text))

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on, in lower case."""
        return self.name[self.name.rfind(".") :] if "." in self.name else ""

    def has_list(self, key: str, inner: str) -> bool:
        """Whether the first JSON object holds a list of objects under `key`, and those have a key `inner`."""
        entries = self.record.get(key) if self.record else None
        return isinstance(entries, list) and any(isinstance(entry, dict) and inner in entry for entry in entries[:1])


def _first_record(text: str) -> Mapping[str, Any] | None:
    """The first object that parses: of an array, or among the first lines, of which some may be broken."""
    text = text.lstrip()
    starts = [text[1:].lstrip()] if text.startswith("[") else text.split("\n")[:50]
    for start in starts:
        if start.lstrip().startswith("{"):
            try:
                record, _ = json.JSONDecoder().raw_decode(start.lstrip())
            except (ValueError, RecursionError):
                continue
            return cast(Mapping[str, Any], record)
    return None


def parsed(values: Iterable[tuple[int, Any] | BadRow], parse: Callable[[Any], Item]) -> Iterator[Row]:
    """Each value as `parse` understands it; what it refuses becomes a bad row and the next one is read."""
    for value in values:
        if isinstance(value, BadRow):
            yield value
            continue
        line, plain = value
        try:
            yield line, parse(plain)
        except RowError as error:
            yield BadRow(line, str(error))


def conversation(turns: Iterable[tuple[Any, Any, Any] | Message], meta: Mapping[str, Any]) -> Conversation:
    """A conversation from messages, or (speaker, content, name) as found in the data. Raises `RowError`."""
    messages = tuple(turn if isinstance(turn, Message) else message(*turn) for turn in turns)
    if not messages:
        raise RowError("it holds no messages")
    return Conversation(messages, meta)


def message(speaker: Any, content: Any, name: Any = None, weight: Any = None) -> Message:
    """A message whose speaker is known by one of many names. The content stays as it is. Raises `RowError`."""
    role = ROLE_OF_SPEAKER.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        hint = did_you_mean(speaker.strip().lower(), ROLE_OF_SPEAKER) if isinstance(speaker, str) else "it must be text"
        raise RowError(f"unknown role {speaker!r} ({hint.rstrip('?')})")
    if name is not None and not isinstance(name, str):
        raise RowError(f"the name of a {role} turn is {_kind(name)}, not text")
    if weight is None:
        weight = 1.0
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
        raise RowError(f"the weight of a {role} turn is {weight!r}, not a number of at least 0")
    return Message(role, text(content, f"the content of a {role} turn"), name or None, weight=float(weight))


def document(row: Mapping[str, Any]) -> Document:
    """The document in an object with a `text`. Raises `RowError`."""
    return Document(text(row.get("text"), "'text'"), meta_of(row, ["text"]))


def rating(row: Mapping[str, Any], key: str) -> bool | None:
    """Whether somebody found it good, under `key`; None where it does not say. Raises `RowError`."""
    value = row.get(key)
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    raise RowError(f"'{key}' is {value!r}, not true or false")


def text(value: Any, what: str) -> str:
    """`value` if it is text with something in it. Raises `RowError` that says `what` it should have been."""
    if not isinstance(value, str):
        raise RowError(f"{what} is {_kind(value)}, not text")
    if not value.strip():
        raise RowError(f"{what} is empty")
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object. Raises `RowError`."""
    if not isinstance(value, dict):
        raise RowError(f"it is {_kind(value)}, not an object with keys")
    return value


def meta_of(row: Mapping[str, Any], used: Iterable[str]) -> dict[str, Any]:
    """Whatever a row says beside the keys in `used`; the entries of a `meta` object come to the top."""
    used = set(used)
    rest = {key: value for key, value in row.items() if key not in used and value is not None}
    inner = rest.pop("meta", None)
    if isinstance(inner, dict):
        return {**rest, **inner}
    return rest if inner is None else {**rest, "meta": inner}


def _kind(value: Any) -> str:
    """What JSON calls the kind of `value`."""
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "text" if isinstance(value, str) else "an object")
