"""`slots.yaml`: where the values in templates come from.

::

    return_days: {fact: return_days}                       # of facts.yaml
    order_number:
      pattern: '\\bLW-?\\d{6}\\b'                             # read from the messages (see safe_regex.py)
      ask: {en: What is your order number?, zh: 请问订单号是多少？}   # if no message has one
    size:
      choices:                                             # read from the messages, with typing errors
        small: {en: [small, s], zh: [小号, 小]}
        large: {en: [large, l], zh: [大号, 大]}
      ask: {en: Which size?, zh: 要哪个尺码？}
    reason: {ask: {en: Why?, zh: 为什么？}}                  # the next message is the value
"""

import unicodedata
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.strict_model import StrictModel
from turnwise.scenarios.answer_template import MAX_VALUE_CHARS
from turnwise.scenarios.field_types import LocalizedLine, LocalizedLines, Name, frozen_map, localize
from turnwise.scenarios.phrases import PhraseList
from turnwise.scenarios.safe_regex import compile_regex


def _check_pattern(pattern: str) -> str:
    compile_regex(pattern)
    return pattern


def _check_choices(choices: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    for synonyms in choices.values():
        for lines in synonyms.values():
            PhraseList(lines)
    return frozen_map(choices)


class Slot(StrictModel):
    """Source of a value.

    Attributes:
        fact: name of a fact.
        pattern: expression that the value matches.
        choices: synonyms by choice and language; the first synonym is the text that a template shows.
        ask: question that asks for the value.
        uppercase: write a value of `pattern` in upper case.
    """

    fact: Name | None = None
    pattern: Annotated[str, StringConstraints(min_length=1), AfterValidator(_check_pattern)] | None = None
    choices: Annotated[Mapping[Name, LocalizedLines], Field(max_length=200), AfterValidator(_check_choices)] | None = (
        None
    )
    ask: LocalizedLine | None = None
    uppercase: bool = False

    @model_validator(mode="after")
    def _check_source(self) -> "Slot":
        sources = [name for name in ("fact", "pattern", "choices") if getattr(self, name) is not None]
        if len(sources) > 1:
            raise InvalidParameter(sources[1], f"a slot has one source, not both '{sources[0]}' and '{sources[1]}'.")
        if not sources and self.ask is None:
            raise InvalidParameter("slot", "a slot needs a source: 'fact', 'pattern', 'choices' or 'ask'.")
        if self.fact is not None and self.ask is not None:
            raise InvalidParameter("ask", "a slot that is a fact asks nothing: remove 'ask'.")
        if self.uppercase and self.pattern is None:
            raise InvalidParameter("uppercase", "'uppercase' needs 'pattern'.")
        return self

    def read(self, message: str, language: str, default_language: str) -> str | None:
        """The value in a message; None if it has none, or if the slot is a fact or a free text.

        A choice is returned as its first synonym in `language`; synonyms of all languages are recognised,
        and the longest one decides: `extra large` is not `large`.
        """
        if self.pattern is not None:
            normalized = unicodedata.normalize("NFKC", message)
            value = compile_regex(self.pattern).search(normalized)
            return None if value is None else (value.upper() if self.uppercase else value)[:MAX_VALUE_CHARS]
        matches = [
            (len(phrase.source), localize(synonyms, language, default_language)[0])
            for synonyms in (self.choices or {}).values()
            for lines in synonyms.values()
            if (phrase := PhraseList(sorted(lines, key=len, reverse=True)).find(message)) is not None
        ]
        return max(matches, key=lambda match: match[0])[1] if matches else None

    @property
    def is_free_text(self) -> bool:
        """True if the complete answer to `ask` is the value."""
        return self.fact is None and self.pattern is None and self.choices is None
