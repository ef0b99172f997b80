"""Numbers of payment cards: a known prefix, 13 to 19 digits, and the check digit of Luhn (ISO/IEC 7812)."""

import re
from collections.abc import Iterator

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import AFTER, BEFORE, find_spans

_CARD = re.compile(rf"{BEFORE}(?<![.,\-])[2-6]\d{{3}}(?:[ \-]?\d){{8,14}}\d{AFTER}(?![.,]\d)")
_ANNOUNCED = re.compile(
    rf"(?:(?:card|visa|master\s?card|amex|american express|debit|credit)(?:\s*(?:number|no\.?|is|it's|:|#)){{0,5}}|"
    rf"银行卡|信用卡|储蓄卡|借记卡|卡号|建行卡|工行卡|农行卡|招行卡)"
    rf"(?:号码?|是|为|:|\s)*(?P<value>\d{{4}}(?:[ \-]?\d){{8,15}}){AFTER}",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"4|5[1-5]|2[2-7]|3[47]|3[068]|35|6")
_LENGTHS = range(13, 20)


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of numbers with a valid check digit; after a word such as "card" the check digit may be wrong."""
    yield from find_spans(_CARD, text, "card", is_card_number)
    yield from find_spans(_ANNOUNCED, text, "card")


def is_card_number(value: str) -> bool:
    """True for a number of a card network with a valid check digit."""
    digits = re.sub(r"\D", "", value)
    return len(digits) in _LENGTHS and _PREFIX.match(digits) is not None and luhn_sum(digits) % 10 == 0


def luhn_sum(digits: str) -> int:
    """The sum of Luhn: a multiple of 10 if the check digit is valid."""
    total = 0
    for index, character in enumerate(reversed(digits)):
        doubled = int(character) * (1 + index % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total
