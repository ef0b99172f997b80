"""International bank account numbers (ISO 13616), with blanks and in lower case too."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import BEFORE, load_library

_START = re.compile(rf"{BEFORE}[A-Za-z]{{2}}\d{{2}}(?:[ \-]?[A-Za-z0-9]){{11,30}}")


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of numbers with valid check digits and the length of their country."""
    for match in _START.finditer(text):
        value = match.group()
        # Words may follow a number with blanks, so the longest valid beginning counts.
        for end in range(len(value), 14, -1):
            following = value[end : end + 1]
            if following.isalnum() or not value[end - 1].isalnum():
                continue
            if _library().is_valid(value[:end], check_country=False):
                yield PersonalSpan(match.start(), match.start() + end, "iban")
                break


@cache
def _library() -> Any:
    return load_library("stdnum.iban")
