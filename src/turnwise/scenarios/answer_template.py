"""Templates of answers: a text with slots such as `{{ order_number }}`, and nothing else of Jinja's syntax.

A template is a list of texts and slot names, so it has no loops, no calls and nothing to execute. Its length is bounded
by its text and the values of its slots.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from turnwise.core.errors import InvalidParameter
from turnwise.scenarios.field_types import MAX_TEXT_CHARS

MAX_VALUE_CHARS = 500  # of a slot's value
_SLOT = re.compile(r"\{\{\s*([a-z][a-z0-9_]{0,63})\s*\}\}")
_SYNTAX = re.compile(r"\{\{|\}\}|\{%|%\}|\{#|#\}")


@dataclass(frozen=True, slots=True)
class AnswerTemplate:
    """A text with slots.

    Attributes:
        source: the text as written.
        parts: texts at even positions, slot names at odd ones.
    """

    source: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, source: str) -> "AnswerTemplate":
        """Parse a template. Raises `InvalidParameter` for anything but slots, and for an empty or too long text."""
        if not isinstance(source, str) or not source.strip():
            raise InvalidParameter("template", f"a template must be text, not {source!r}.")
        if len(source) > MAX_TEXT_CHARS:
            raise InvalidParameter("template", f"a template has at most {MAX_TEXT_CHARS:,} characters.")
        parts = tuple(_SLOT.split(source.strip()))
        for text in parts[::2]:
            if (syntax := _SYNTAX.search(text)) is not None:
                raise InvalidParameter(
                    "template",
                    f"'{syntax.group()}' begins nothing that a template may hold: only slots such as "
                    f"{{{{ order_number }}}}, in {source.strip()[:80]!r}.",
                )
        return cls(source.strip(), parts)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots in order, each once."""
        return tuple(dict.fromkeys(self.parts[1::2]))

    def render(self, values: Mapping[str, str]) -> str:
        """The text with the slots' values. A value is inserted as it is: braces in it have no meaning.

        Raises:
            InvalidParameter: a slot has no value.
        """
        for slot in self.slots:
            if slot not in values:
                raise InvalidParameter(slot, f"The template has no value for '{slot}'.")
        texts = (values[text][:MAX_VALUE_CHARS] if index % 2 else text for index, text in enumerate(self.parts))
        return "".join(texts)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Templates in pydantic models are read from text."""
        return core_schema.no_info_plain_validator_function(cls.parse)
