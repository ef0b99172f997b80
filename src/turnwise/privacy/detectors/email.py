"""E-mail addresses (RFC 5321 without quoted local parts), also with characters of other scripts in the domain."""

import re
from collections.abc import Iterator

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import find_spans

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9_%+\-][A-Za-z0-9._%+'’\-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)"
    r"{1,8}[A-Za-z]{2,24}(?![A-Za-z0-9\-])"
)


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of e-mail addresses."""
    return find_spans(_EMAIL, text, "email") if "@" in text else iter(())
