"""Identity numbers of people in the United States, the United Kingdom, Canada and India.

Numbers with a distinctive form count alone; others only after a word that announces them, with a valid check digit if
the number has one.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import AFTER, BEFORE, LINK_EN, find_spans, load_library

_SSN = re.compile(rf"{BEFORE}(?<!-)\d{{3}}-\d{{2}}-\d{{4}}{AFTER}(?!-)")
_SSN_ANNOUNCED = re.compile(
    rf"(?:\bssn|social(?: security)?(?: number)?){LINK_EN}(?:it(?:'s| is)\s*)?[,:]?\s*(?:it(?:'s|"
    rf" is)\s*)?(?P<value>\d{{3}}[ \-]?\d{{2}}[ \-]?\d{{4}}){AFTER}",
    re.IGNORECASE,
)
_NINO = re.compile(
    rf"{BEFORE}(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?(?:\d{{2}} ?){{3}}[A-D]{AFTER}"
)
_NHS = re.compile(rf"\bnhs{LINK_EN}(?P<value>\d{{3}} ?\d{{3}} ?\d{{4}}){AFTER}", re.IGNORECASE)
_SIN = re.compile(
    rf"\b(?:sin|social insurance){LINK_EN}(?P<value>\d{{3}}[ \-]?\d{{3}}[ \-]?\d{{3}}){AFTER}", re.IGNORECASE
)
_AADHAAR = re.compile(rf"{BEFORE}(?<![\-+])[2-9]\d{{3}} ?\d{{4}} ?\d{{4}}{AFTER}(?! ?\d)")
_AADHAAR_ANNOUNCED = re.compile(
    rf"\b(?:aadhaar|aadhar|uid){LINK_EN}(?P<value>\d{{4}}[ \-]?\d{{4}}[ \-]?\d{{4}}){AFTER}", re.IGNORECASE
)
_PAN = re.compile(rf"{BEFORE}[A-Z]{{3}}[ABCFGHLJPTK][A-Z]\d{{4}}[A-Z]{AFTER}")
_SPACED = re.compile(r"\d{4} \d{4} \d{4}")


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of identity numbers."""
    yield from find_spans(_SSN, text, "id_number", _valid("us.ssn"))
    yield from find_spans(_SSN_ANNOUNCED, text, "id_number")
    yield from find_spans(_NINO, text, "id_number")
    yield from find_spans(_NHS, text, "id_number", _valid("gb.nhs"))
    yield from find_spans(_SIN, text, "id_number")
    yield from find_spans(_AADHAAR, text, "id_number", _is_aadhaar)
    yield from find_spans(_AADHAAR_ANNOUNCED, text, "id_number")
    yield from find_spans(_PAN, text, "id_number", _valid("in_.pan"))


def _is_aadhaar(value: str) -> bool:
    return _SPACED.fullmatch(value) is not None and _valid("in_.aadhaar")(value)


@cache
def _valid(module: str) -> Callable[[str], bool]:
    library: Any = load_library(f"stdnum.{module}")
    return lambda value: bool(library.is_valid(value))
