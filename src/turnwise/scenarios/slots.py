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
      exceptions: {en: [too small|large], zh: [太小|太大]}    # phrases in which a choice is not what is wanted
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
from turnwise.scenarios.phrases import MessageWords, PhraseList
from turnwise.scenarios.safe_regex import compile_regex


def _check_pattern(pattern: str) -> str:
    compile_regex(pattern)
    return pattern


def _check_phrases(phrases: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    for lines in phrases.values():
        PhraseList(lines)
    return frozen_map(phrases)


def _check_choices(choices: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    for synonyms in choices.values():
        _check_phrases(synonyms)
    return frozen_map(choices)


class Slot(StrictModel):
    """Source of a value.

    Attributes:
        fact: name of a fact.
        pattern: expression that the value matches.
        choices: synonyms by choice and language; the first synonym is the text that a template shows.
        exceptions: phrases with a synonym that does not name the choice, by language.
        ask: question that asks for the value.
        uppercase: write a value of `pattern` in upper case.
    """

    fact: Name | None = None
    pattern: Annotated[str, StringConstraints(min_length=1), AfterValidator(_check_pattern)] | None = None
    choices: Annotated[Mapping[Name, LocalizedLines], Field(max_length=200), AfterValidator(_check_choices)] | None = (
        None
    )
    exceptions: Annotated[LocalizedLines, AfterValidator(_check_phrases)] | None = None
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
        if self.exceptions is not None and self.choices is None:
            raise InvalidParameter("exceptions", "'exceptions' needs 'choices'.")
        if self.uppercase and self.pattern is None:
            raise InvalidParameter("uppercase", "'uppercase' needs 'pattern'.")
        return self

    def read(self, message: str, language: str, default_language: str) -> str | None:
        """The value in a message; None if it has none, or if the slot is a fact or a free text.

        A choice is returned as its first synonym in `language`. Synonyms of all languages are recognised, and of two
        in one place the longer one counts: `extra large` is not `large`. A message with two choices has no value,
        because it does not say which of them is wanted.
        """
        if self.pattern is not None:
            normalized = unicodedata.normalize("NFKC", message)
            value = compile_regex(self.pattern).search(normalized)
            return None if value is None else (value.upper() if self.uppercase else value)[:MAX_VALUE_CHARS]
        choices = self._named_choices(message)
        if len(choices) != 1:
            return None
        return localize((self.choices or {})[choices.pop()], language, default_language)[0]

    def names_several(self, message: str) -> bool:
        """True if a message names several choices, so that a choice of an earlier message does not hold either."""
        return len(self._named_choices(message)) > 1

    def _named_choices(self, message: str) -> set[str]:
        """The choices that a message names, without those of `exceptions`."""
        words = MessageWords(message)
        exceptions = [line for lines in (self.exceptions or {}).values() for line in lines]
        named = [
            (span, choice)
            for choice, synonyms in (self.choices or {}).items()
            for lines in synonyms.values()
            for span in PhraseList(lines, exceptions).find_spans(words)
        ]
        return {choice for span, choice in named if not any(_is_inside(span, longer) for longer, _ in named)}

    @property
    def is_free_text(self) -> bool:
        """True if the complete answer to `ask` is the value."""
        return self.fact is None and self.pattern is None and self.choices is None


def _is_inside(span: tuple[int, int], longer: tuple[int, int]) -> bool:
    """True if a span of words lies in another, longer one."""
    return span != longer and longer[0] <= span[0] and span[1] <= longer[1]
