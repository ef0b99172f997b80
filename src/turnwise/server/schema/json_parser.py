"""Parses JSON bodies without holding the interpreter lock for long.

The parser is native code that holds the lock to its end. Long strings take milliseconds, but millions of small lists or
numbers take a second, in which all streams stall. So structural characters are counted first, and bodies with more than
any request needs are rejected.
"""

import json
import re
from typing import Any

from pydantic_core import from_json

from turnwise.core.errors import UserError
from turnwise.server.error_responses import truncate

MAX_INLINE_BYTES = 16_384  # longer bodies are parsed in a thread
MAX_JSON_NODES = 100_000  # arrays, objects and fields; the parser takes about 1 microsecond for each
MAX_VALUES = 1_000_000  # entries of arrays and fields, such as token ids
_SCAN_BYTES = 1 << 16  # scanned at a time, so that other threads can run in between
_NODE_CHARS = (b"[", b"{", b":")
_VALUE_CHARS = (b",",)
_STRING_CONTENT = re.compile(rb'(?:[^"\\]|\\.)*', re.DOTALL)
_POSITION = re.compile(r" at line (\d+) column (\d+)$")


class InvalidBody(UserError):
    """The body is not valid JSON, or not an object."""

    code = "invalid_json"


def parse_json_body(body: bytes) -> dict[str, Any]:
    """Parse a JSON object. Strict: UTF-8, no NaN, no unpaired surrogates. Raises `InvalidBody`."""
    try:
        body.decode()
    except UnicodeDecodeError:
        raise InvalidBody("The body is not valid UTF-8, or has an unpaired surrogate.") from None
    _check_structure(body)
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _syntax_error(body, str(error)) from None
    if not isinstance(content, dict):
        raise InvalidBody('The body must be a JSON object, like {"model": …, "messages": […]}.')
    return content


def _syntax_error(body: bytes, problem: str) -> InvalidBody:
    """The error for a body that the parser rejects. Short bodies are parsed again for the clearer message of `json`."""
    if "recursion" in problem:
        return InvalidBody("The body is nested too deeply.")
    if "surrogate" in problem or "hex escape" in problem:
        return InvalidBody("The body is not valid UTF-8, or has an unpaired surrogate.")
    if len(body) <= MAX_INLINE_BYTES:
        try:
            json.loads(body, parse_constant=_reject_constant)
        except json.JSONDecodeError as error:
            problem = f"{error.msg} at line {error.lineno}, column {error.colno}"
        except (ValueError, RecursionError) as error:
            problem = str(error)
    problem = _POSITION.sub(r" at line \1, column \2", problem)
    return InvalidBody(f"The body is not valid JSON: {truncate(problem)}.")


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _check_structure(body: bytes) -> None:
    for chars, limit, noun in (
        (_NODE_CHARS, MAX_JSON_NODES, "arrays, objects and fields"),
        (_VALUE_CHARS, MAX_VALUES, "values"),
    ):
        if sum(map(body.count, chars)) <= limit:
            continue  # fast upper bound: it also counts characters in strings
        if count_structure(body, chars, limit) > limit:
            raise InvalidBody(f"The body has more than {limit:,} {noun}.")


def count_structure(body: bytes, chars: tuple[bytes, ...] = _NODE_CHARS, limit: int = MAX_JSON_NODES) -> int:
    """Count `chars` outside the strings of a JSON text. Stops soon after `limit`."""
    count, position = 0, 0
    while 0 <= position < len(body) and count <= limit:
        quote = body.find(b'"', position, position + _SCAN_BYTES)
        end = min(position + _SCAN_BYTES, len(body)) if quote < 0 else quote
        count += sum(body.count(char, position, end) for char in chars)
        position = end if quote < 0 else _end_of_string(body, quote + 1)
    return count


def _end_of_string(body: bytes, start: int) -> int:
    """The position after the string whose content starts at `start`; the end of the body if it is not closed."""
    while start < len(body):
        match = _STRING_CONTENT.match(body, start, start + _SCAN_BYTES)
        assert match is not None, "the pattern matches the empty string too"
        end = match.end()
        if body[end : end + 1] == b'"':
            return end + 1
        start = end if end > start else start + 2  # the scanned bytes end between a backslash and its character
    return len(body)
