"""Parts of patterns that several detectors use, and the libraries of the extra `privacy`."""

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from turnwise.core.errors import UserError
from turnwise.core.personal_data import PersonalDataKind, PersonalSpan

# No digit or letter before and after; Chinese characters may stand there, because Chinese has no blanks.
BEFORE = r"(?<![A-Za-z0-9])"
AFTER = r"(?![A-Za-z0-9])"
# Between the name of a field and its value: "is", a colon or both, and words such as "number".
LINK_EN = r"(?:\s*(?:number|no\.?|num|nr\.?|id|code|#))?\s*(?:(?:is|was|:|=|#|-|->)\s*){0,3}"
LINK_ZH = r"(?:号码|编号|号|码)?\s*(?:是|为|:|=|改成|换成|设为)?\s*(?:了)?"


def load_library(name: str) -> Any:
    """A module of a library of the extra `privacy`. Raises `UserError` if it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            "Detection of personal data needs phonenumbers and python-stdnum: pip install 'turnwise[privacy]'."
        ) from error


def find_spans(
    pattern: re.Pattern[str], text: str, kind: PersonalDataKind, is_valid: Callable[[str], bool] | None = None
) -> Iterator[PersonalSpan]:
    """Spans of the matches of a pattern: of its group `value` if it has one, else of the match.

    Args:
        pattern: the pattern.
        text: text.
        kind: kind of the spans.
        is_valid: leaves out the matches for which it is False; gets the text of the span.
    """
    group: str | int = "value" if "value" in pattern.groupindex else 0
    for match in pattern.finditer(text):
        if match.start(group) >= 0 and (is_valid is None or is_valid(match[group])):
            yield PersonalSpan(*match.span(group), kind)


def has_digit(value: str) -> bool:
    """True if a text has a digit."""
    return any(character.isdigit() for character in value)
