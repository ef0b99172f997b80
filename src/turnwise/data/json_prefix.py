"""The beginning of a JSON value, closed where it is cut off: enough to recognise what a long file holds."""

import json
import re
from typing import Any

MAX_DEPTH = 100
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def parse_prefix(text: str) -> Any:
    """The first value in `text`, without the entry in which it breaks off; None where it is no JSON so far."""
    closers: list[str] = []
    cut, closing = 0, ""  # the last place after a complete entry, and what closes the value there
    end = 0
    for token in _TOKEN.finditer(text):
        if text[end : token.start()].strip():
            break
        mark, end = token.group(), token.end()
        if mark in ("{", "["):
            if len(closers) == MAX_DEPTH:
                return None
            closers.append("}" if mark == "{" else "]")
            cut, closing = end, "".join(reversed(closers))
        elif mark in ("}", "]"):
            if not closers or closers.pop() != mark:
                return None
            cut, closing = end, "".join(reversed(closers))
            if not closers:
                break
        elif mark == ",":
            cut, closing = token.start(), "".join(reversed(closers))
    try:
        return json.loads(text[:cut] + closing)
    except (ValueError, RecursionError):
        return None


def is_complete(text: str) -> bool:
    """Whether `text` begins with a complete JSON value."""
    try:
        json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return True
