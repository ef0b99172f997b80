"""Identity numbers of residents of mainland China (GB 11643) and unified social credit codes (GB 32100)."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import AFTER, BEFORE, LINK_ZH, find_spans, load_library

_RESIDENT = re.compile(
    rf"{BEFORE}[1-9]\d{{5}}(?:18|19|20)\d{{2}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}[\dXx]{AFTER}"
)
_CREDIT_CODE = re.compile(rf"{BEFORE}[0-9A-HJ-NP-RTUW-Y]{{2}}\d{{6}}[0-9A-HJ-NP-RTUW-Y]{{10}}{AFTER}")
_CREDIT_ANNOUNCED = re.compile(
    rf"(?:统一社会信用代码|信用代码|税号|纳税人识别号){LINK_ZH}(?P<value>[0-9A-Z]{{15,20}}){AFTER}"
)
_ID_ANNOUNCED = re.compile(rf"(?:身份证|证件){LINK_ZH}(?P<value>\d{{17}}[\dXx]|\d{{15}}){AFTER}")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of numbers with a valid check character; after a word such as 身份证 any number of this form."""
    yield from find_spans(_RESIDENT, text, "id_number", is_resident_number)
    yield from find_spans(_ID_ANNOUNCED, text, "id_number")
    yield from find_spans(_CREDIT_CODE, text, "company_id", _is_credit_code)
    yield from find_spans(_CREDIT_ANNOUNCED, text, "company_id")


def is_resident_number(value: str) -> bool:
    """True if the check character is right. The list of places changes, so it is not consulted."""
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, value, strict=False))
    return "10X98765432"[total % 11] == value[-1].upper()


def _is_credit_code(value: str) -> bool:
    return any(character.isalpha() for character in value) and bool(_library().is_valid(value))


@cache
def _library() -> Any:
    return load_library("stdnum.cn.uscc")
