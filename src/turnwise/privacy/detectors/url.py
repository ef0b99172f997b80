"""Addresses of web pages with data of a person: a login, or a query with an e-mail address, a token or a number."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import find_spans

_URL = re.compile(
    r"(?<![A-Za-z0-9])(?:https?|ftps?|sftp|wss?|postgres(?:ql)?|mysql|redis|mongodb(?:\+srv)?|"
    r"amqp)://[^\s<>\"'「」。、\u4e00-\u9fff]{3,2000}"
)
_PERSONAL_KEY = re.compile(
    r"^(?:e?-?mail|user(?:name|_?id)?|uid|name|(?:first|last|full)_?name|phone|mobile|tel|address|token|key|api_?key|"
    r"access_token|auth|password|pwd|pass|secret|session(?:_?id)?|sid|sig(?:nature)?|code|account|"
    r"customer(?:_?id)?|ssn|dob)$",
    re.IGNORECASE,
)


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of such addresses, without punctuation at the end."""
    if "://" not in text:
        return
    for span in find_spans(_URL, text, "url"):
        value = text[span.start : span.end].rstrip(".,;:!?)]}")
        if _is_personal(value):
            yield PersonalSpan(span.start, span.start + len(value), "url")


def _is_personal(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    if "@" in parts.netloc:
        return True
    if "@" in unquote(parts.query):
        return True
    return any(_PERSONAL_KEY.match(key) and content for key, content in parse_qsl(parts.query))
