"""Types of the values in scenario files: names, bounded texts and texts per language."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, StringConstraints

from turnwise.core.errors import InvalidParameter

MAX_LINE_CHARS, MAX_TEXT_CHARS = 600, 6000
MAX_ENTRIES = 500  # of a list or mapping in a file

_V = TypeVar("_V")


def _freeze(mapping: Mapping[str, _V]) -> Mapping[str, _V]:
    return MappingProxyType(dict(mapping))


def _require_entries(mapping: Mapping[str, _V]) -> Mapping[str, _V]:
    if not mapping:
        raise InvalidParameter("language", "a text needs at least one language, such as 'en: Hello'.")
    return mapping


Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")]
"""Code of a language: en, zh, pt-BR."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""Name of an intent, slot, fact, safety line, refusal or scenario: lower-case letters, digits and underscores."""

FolderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Name of a folder inside of a scenario; it cannot lead out of it."""

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_LINE_CHARS)]
"""A text of up to `MAX_LINE_CHARS` characters."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_CHARS)]
"""A text of up to `MAX_TEXT_CHARS` characters."""

Lines = Annotated[tuple[Line, ...], Field(min_length=1, max_length=MAX_ENTRIES)]

LocalizedLine = Annotated[Mapping[Language, Line], AfterValidator(_require_entries), AfterValidator(_freeze)]
LocalizedText = Annotated[Mapping[Language, Text], AfterValidator(_require_entries), AfterValidator(_freeze)]
LocalizedLines = Annotated[Mapping[Language, Lines], AfterValidator(_freeze)]
"""Texts by language. `localize` chooses one."""


def frozen_map(mapping: Mapping[str, _V]) -> Mapping[str, _V]:
    """A read-only copy of a mapping."""
    return _freeze(mapping)


def empty_map() -> Mapping[str, Any]:
    """A read-only mapping without entries, for defaults."""
    return MappingProxyType({})


def localize(texts: Mapping[str, _V], language: str, default: str) -> _V:
    """The text for a language; else that of the same base language (zh for zh-TW), of `default`, or the first one."""
    for candidate in (language, language.partition("-")[0], default):
        if candidate in texts:
            return texts[candidate]
    return next(iter(texts.values()))
