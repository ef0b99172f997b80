"""Phone numbers: numbers that the library `phonenumbers` accepts, and shorter ones after a word such as "call".

A number without a country code is checked as one of mainland China, if it has their form, and of English-speaking
countries, if it is written as people write phone numbers there: with a separator, or after a word that announces it.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import load_library

_CANDIDATE = re.compile(
    r"(?<![A-Za-z0-9_./+#@\-])(?:\+\s?|00)?\(?\d(?:[\s()./\-]{0,2}\d){5,15}(?![\d@]|[.,]\d|[A-Za-z_])"
)
_CHINA_MOBILE = re.compile(r"(?:\+?86[\s\-]?)?1[3-9]\d[\s\-]?\d{4}[\s\-]?\d{4}")
_CHINA_LANDLINE = re.compile(r"\(?0(?:10|2\d|[3-9]\d{2})\)?[\s\-]?[2-9]\d{2,3}[\s\-]?\d{4}")
_ANNOUNCED = re.compile(
    r"(?:phone|tel(?:ephone)?|mobile|cell(?:phone)?|landline|call|ring|text|reach|contact|whats\s?app|fax|dial|"
    r"sms|number|line|handy"
    r"|电话|手机|座机|号码|微信|致电|拨打?|联系|短信|打给?|传真|热线|旧号|新号)[^\d\n+(]{0,25}$",
    re.IGNORECASE,
)
# Numbers of another kind follow these words.
_OTHER_NUMBER = re.compile(
    r"(?:order|invoice|ticket|booking|account|customer|tracking|policy|member(?:ship)?|case|isbn|barcode|ean|"
    r"ssn|social|passport|card|iban|ref"
    r"|reference|serial|model|nhs|sort code|aadhaar|sin|订单|单号|运单|账号|卡号|会员|编号|身份证|护照|QQ|qq|"
    r"条码|税号|验证码|密码|型号)"
    r"(?:\s*(?:number|no\.?|id|号码?|编号))?[^\d\n]{0,10}$",
    re.IGNORECASE,
)  # fmt: skip
_FORMATTED = re.compile(r"[\s.\-)/]")
_DATE = re.compile(r"^(?:\d{4}[-./\s]\d{1,2}[-./\s]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4})(?:\s+\d{1,2})?$")
_REGIONS = ("US", "GB", "IN", "AU", "IE", "DE", "HK")
_PLUS = "+0 "  # before a country code
_WINDOW = 40  # characters before a number in which a word announces it


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of phone numbers, with the plus sign and brackets."""
    for match in _CANDIDATE.finditer(text):
        value = match.group()
        start = match.start()
        if value[0] == "(" and ")" not in value:
            value, start = value[1:], start + 1
        if _is_phone(value, text[max(0, start - _WINDOW) : start]):
            yield PersonalSpan(start, start + len(value), "phone")


def _is_phone(value: str, before: str) -> bool:
    if _DATE.match(value) or _OTHER_NUMBER.search(before):
        return False
    if _CHINA_MOBILE.fullmatch(value) or _CHINA_LANDLINE.fullmatch(value):
        return True
    library = _library()
    if value[0] == "+" or value.startswith("00"):
        return _is_possible("+" + value.lstrip(_PLUS), None, library)
    digits = sum(character.isdigit() for character in value)
    if _ANNOUNCED.search(before) and 7 <= digits <= 12:
        return True
    if not _FORMATTED.search(value) or digits < 9:
        return False
    return any(_is_valid(value, region, library) for region in _REGIONS[:2]) or (
        value[0] in "0(" and any(_is_valid(value, region, library) for region in _REGIONS[2:])
    )


def _is_valid(value: str, region: str, library: Any) -> bool:
    try:
        number = library.parse(value, region)
    except library.NumberParseException:
        return False
    return bool(library.is_valid_number(number) or (region in ("US", "GB") and _is_fictitious(value)))


def _is_possible(value: str, region: str | None, library: Any) -> bool:
    try:
        return bool(library.is_possible_number(library.parse(value, region)))
    except library.NumberParseException:
        return False


def _is_fictitious(value: str) -> bool:
    """Numbers that are reserved for examples: people write them in tests, and models repeat them."""
    digits = re.sub(r"\D", "", value)
    return bool(re.fullmatch(r"1?\d{3}55501\d{2}|01632960\d{3}|07700900\d{3}|02079460\d{3}", digits))


@cache
def _library() -> Any:
    return load_library("phonenumbers")
