"""Licence plates: those of mainland China (GA 36) and the United Kingdom, others after a word such as "plate"."""

import re
from collections.abc import Iterator

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import AFTER, BEFORE, LINK_EN, find_spans, has_digit

_CHINA = re.compile(
    rf"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][·• ]?(?:[A-HJ-NP-Z0-9]{{5}}|"
    rf"[DF][A-HJ-NP-Z0-9]\d{{4}}|\d{{5}}[DF]){AFTER}"
)
_UNITED_KINGDOM = re.compile(
    rf"{BEFORE}[A-HJ-PR-Y]{{2}}[0-7]\d ?(?!APR|MAY|JUN|AUG|SEP|OCT|NOV|DEC|JAN|FEB|MAR)[A-HJ-PR-Z]{{3}}{AFTER}"
)
_ANNOUNCED = re.compile(
    rf"\b(?:(?:number|licen[cs]e|car|vehicle) plate|plate|registration plate|vehicle registration|"
    rf"car reg(?:istration)?){LINK_EN}"
    rf"(?P<value>(?-i:[A-Z0-9]{{1,4}}[ \-]?[A-Z0-9]{{2,5}}(?:[ \-][A-Z]{{2,3}})?)){AFTER}",
    re.IGNORECASE,
)


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of licence plates."""
    yield from find_spans(_CHINA, text, "plate", lambda value: has_digit(value[2:]))
    yield from find_spans(_UNITED_KINGDOM, text, "plate")
    yield from find_spans(_ANNOUNCED, text, "plate", has_digit)
