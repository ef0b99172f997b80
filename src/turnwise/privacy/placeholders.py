"""Placeholders such as `[NAME_1]` for values, one for each value of a conversation."""

import re
from collections.abc import Iterable, Mapping

from turnwise.core.personal_data import PersonalDataKind
from turnwise.privacy.tagger_features import PLACEHOLDER

_MIN_PART = 3  # letters of a part of a name that is masked alone
_CHINESE_NAME = re.compile("[\u4e00-\u9fff]{3,4}")
# Parts of names that are also frequent words at the start of a sentence.
_ORDINARY = "The Will May Mark Grace Hope Faith Joy Bill Rose Art Van Der Von Del Mrs Miss Can For And"
_ORDINARY_PARTS = frozenset(_ORDINARY.split())


class PlaceholderTable:
    """Assigns placeholders to values. The same value has the same placeholder, another spelling has another one.

    Args:
        texts: all texts; placeholders that occur in them are not assigned.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._reserved = {match.group() for text in texts for match in PLACEHOLDER.finditer(text)}
        self._by_value: dict[str, str] = {}
        self._name_parts: set[str] = set()  # get a placeholder when they occur alone
        self._kinds: dict[str, PersonalDataKind] = {}
        self._pattern: re.Pattern[str] | None = None

    @property
    def values(self) -> dict[str, str]:
        """Values by placeholder."""
        return {placeholder: value for value, placeholder in self._by_value.items()}

    def add(self, value: str, kind: PersonalDataKind) -> str:
        """The placeholder of a value, new or not. Parts of a name are masked where they occur alone."""
        if value not in self._by_value:
            self._pattern = None
            self._assign(value, kind)
            if kind == "name":
                self._name_parts.update(_name_parts(value))
        return self._by_value[value]

    def replace(self, text: str) -> str:
        """Replace every occurrence of a value as a word; placeholders stay as they are."""
        if self._pattern is None:
            # A single character would be masked in every word of a Chinese text.
            values = {value for value in self._by_value if len(value) > 1} | self._name_parts
            ordered = sorted(values, key=lambda value: (-len(value), value))
            self._pattern = re.compile("|".join([PLACEHOLDER.pattern, *map(_as_word, ordered)]))
        return self._pattern.sub(self._replacement, text)

    def _replacement(self, match: re.Match[str]) -> str:
        value = match.group()
        if value in self._name_parts and value not in self._by_value:
            self._assign(value, "name")
        return self._by_value.get(value, value)

    def _assign(self, value: str, kind: PersonalDataKind) -> None:
        number = sum(assigned == kind for assigned in self._kinds.values()) + 1
        while (placeholder := f"[{kind.upper()}_{number}]") in self._reserved or placeholder in self._kinds:
            number += 1
        self._by_value[value], self._kinds[placeholder] = placeholder, kind


def restore(text: str, values: Mapping[str, str]) -> str:
    """Replace placeholders by their values; others stay."""
    return PLACEHOLDER.sub(lambda match: values.get(match.group(), match.group()), text)


def _as_word(value: str) -> str:
    """A pattern of the value, not within a longer word or number."""
    before = r"(?<![A-Za-z0-9])" if value[0].isascii() and value[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if value[-1].isascii() and value[-1].isalnum() else ""
    return f"{before}{re.escape(value)}{after}"


def _name_parts(value: str) -> list[str]:
    """Parts of a full name that may occur alone: capitalised words; the given name of a Chinese name."""
    if _CHINESE_NAME.fullmatch(value):
        return (
            [value[-2:]] if value[-2:] not in ("先生", "女士", "小姐", "经理", "老师", "医生", "师傅", "阿姨") else []
        )
    words = value.split()
    if len(words) < 2:
        return []
    return [
        word
        for word in words
        if len(word) >= _MIN_PART and word[0].isupper() and word.isalpha() and word not in _ORDINARY_PARTS
    ]
