"""IP addresses of both versions, without those that are the same for everybody, such as 127.0.0.1 and netmasks."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import find_spans

_VERSION_4 = re.compile(r"(?<![\d.A-Za-z])(?:\d{1,3}\.){3}\d{1,3}(?![\dA-Za-z]|\.\d)")
_VERSION_6 = re.compile(
    r"(?<![0-9A-Za-z:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![0-9A-Za-z:])"
)
_VERSION_WORD = re.compile(r"(?:version|v|release|版本号?|升级到)\.?\s*$", re.IGNORECASE)


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of addresses. Four numbers after "version" are no address."""
    if text.count(".") >= 3:
        for span in find_spans(_VERSION_4, text, "ip", _is_personal):
            if not _VERSION_WORD.search(text[max(0, span.start - 12) : span.start]):
                yield span
    if text.count(":") >= 2:
        yield from find_spans(_VERSION_6, text, "ip", _is_personal)


def _is_personal(value: str) -> bool:
    try:
        address = ip_address(value)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast or value.startswith("255."))
