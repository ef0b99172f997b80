"""Dates of birth: a date after "born", "date of birth" or "birthday", and before 出生."""

import re
from collections.abc import Iterator

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import find_spans

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE_EN = (
    rf"(?:{_DAY}(?: of)?[ \-]{_MONTH}(?:,?[ \-]\d{{2,4}})?|{_MONTH} {_DAY}(?:,? \d{{4}})?|"
    rf"\d{{1,2}}[./\-]\d{{1,2}}[./\-]\d{{2,4}}"
    rf"|\d{{4}}[./\-]\d{{1,2}}[./\-]\d{{1,2}})(?!\w)"
)
_DATE_ZH = (
    r"(?:(?:\d{4}|\d{2})\s?年\s?\d{1,2}\s?月(?:\s?\d{1,2}\s?[日号])?|\d{1,2}\s?月\s?\d{1,2}\s?[日号]|"
    r"\d{4}[./\-]\d{1,2}[./\-]\d{1,2}|(?:19|20)\d{6})"
)
_ENGLISH = re.compile(
    rf"(?:\bborn|\bdate of birth|\bbirth\s?date|\bbirthday|\bd\.?o\.?b\b\.?)(?:\s+(?:is|was|on|the|in|at)\b|"
    rf"\s*[:,\-=])*\s*(?P<value>{_DATE_EN})",
    re.IGNORECASE,
)
_CHINESE = re.compile(
    rf"(?:出生日期|出生年月日?|出生于|出生在|生于|生日|生辰)\s*(?:是|为|在|:)?\s*(?P<value>{_DATE_ZH})"
)
_CHINESE_AFTER = re.compile(rf"(?P<value>{_DATE_ZH})\s*(?:出生|生人|生的|生日|生[,。]|生$)")


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of dates of birth."""
    yield from find_spans(_ENGLISH, text, "birth_date")
    yield from find_spans(_CHINESE, text, "birth_date")
    yield from find_spans(_CHINESE_AFTER, text, "birth_date")
