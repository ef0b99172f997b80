"""Parses the start of a JSON text that is cut off: enough to detect what a long file holds."""

import json
import re
from typing import Any

MAX_DEPTH = 100
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def parse_prefix(text: str) -> Any:
    """Return the first value in `text` without the entry at which it is cut off; None if it is not JSON so far."""
    closers: list[str] = []
    cut, closing = 0, ""  # the last position after a complete entry, and the brackets that close the value there
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


def starts_with_complete_json(text: str) -> bool:
    """Return True if `text` starts with a complete JSON value."""
    try:
        json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return True
