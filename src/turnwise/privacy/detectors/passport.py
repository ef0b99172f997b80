"""Numbers of passports after a word that announces them."""

import re
from collections.abc import Iterator

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import AFTER, LINK_EN, LINK_ZH, find_spans, has_digit

_ENGLISH = re.compile(rf"\bpassport{LINK_EN}(?P<value>[A-Z]{{0,2}}\d[A-Z0-9]{{5,9}}){AFTER}", re.IGNORECASE)
_CHINESE = re.compile(rf"(?:护照|通行证){LINK_ZH}(?P<value>[A-Za-z]{{0,2}}\d{{7,9}}){AFTER}")


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of passport numbers."""
    yield from find_spans(_ENGLISH, text, "passport", has_digit)
    yield from find_spans(_CHINESE, text, "passport")
