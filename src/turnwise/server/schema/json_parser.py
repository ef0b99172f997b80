"""Parsing JSON of a size that a client chooses, without holding the interpreter for long.

The parser is compiled and runs in one go. Long strings take it milliseconds; millions of small lists or numbers take
it a second in which no stream goes on. So they are counted first, and more than any request needs is refused.
"""

import json
import re
from typing import Any

from pydantic_core import from_json

from turnwise.core.errors import UserError
from turnwise.server.error_responses import truncate

MAX_INLINE_BYTES = 16_384  # bytes; what is longer is parsed in a thread, beside the streams
MAX_JSON_NODES = 100_000  # arrays, objects and fields of a body; a parser takes about 1 microsecond for each
MAX_VALUES = 1_000_000  # entries of arrays and fields of a body, such as token ids
_PIECE = 1 << 16  # bytes looked at between two chances for other threads
_STRUCTURE = (b"[", b"{", b":")
_SEPARATOR = (b",",)
_QUOTED = re.compile(rb'(?:[^"\\]|\\.)*', re.DOTALL)
_POSITION = re.compile(r" at line (\d+) column (\d+)$")


class InvalidBody(UserError):
    """The body is not JSON, or not an object."""

    code = "invalid_json"


def parse_json_body(body: bytes) -> dict[str, Any]:
    """Parse strict JSON: UTF-8, an object, no NaN, no half surrogate pairs. Raises `InvalidBody`."""
    try:
        body.decode()
    except UnicodeDecodeError:
        raise InvalidBody("The body is not valid UTF-8, or holds half of a surrogate pair.") from None
    _check_structure(body)
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _explained(body, str(error)) from None
    if not isinstance(content, dict):
        raise InvalidBody('The body must be a JSON object, like {"model": …, "messages": […]}.')
    return content


def _explained(body: bytes, problem: str) -> InvalidBody:
    """The error for a body that the parser refused; the standard library's sentence where that costs little."""
    if "recursion" in problem:
        return InvalidBody("The body is nested too deeply.")
    if "surrogate" in problem or "hex escape" in problem:
        return InvalidBody("The body is not valid UTF-8, or holds half of a surrogate pair.")
    if len(body) <= MAX_INLINE_BYTES:
        try:
            json.loads(body, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            problem = f"{error.msg} at line {error.lineno}, column {error.colno}"
        except (ValueError, RecursionError) as error:
            problem = str(error)
    problem = _POSITION.sub(r" at line \1, column \2", problem)
    return InvalidBody(f"The body is not valid JSON: {truncate(problem)}.")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _check_structure(body: bytes) -> None:
    for signs, limit, noun in (
        (_STRUCTURE, MAX_JSON_NODES, "arrays, objects and fields"),
        (_SEPARATOR, MAX_VALUES, "values"),
    ):
        if sum(map(body.count, signs)) <= limit:
            continue  # counts what is quoted too, but does so at once
        if count_structure(body, signs, limit) > limit:
            raise InvalidBody(f"The body holds more than {limit:,} {noun}.")


def count_structure(body: bytes, signs: tuple[bytes, ...] = _STRUCTURE, limit: int = MAX_JSON_NODES) -> int:
    """Count the occurrences of some signs outside the strings of a JSON text; stops soon after `limit`."""
    count, at = 0, 0
    while 0 <= at < len(body) and count <= limit:
        quote = body.find(b'"', at, at + _PIECE)
        end = min(at + _PIECE, len(body)) if quote < 0 else quote
        count += sum(body.count(sign, at, end) for sign in signs)
        at = end if quote < 0 else _after_string(body, quote + 1)
    return count


def _after_string(body: bytes, start: int) -> int:
    """Where a string that begins at `start` has ended; the end of the body where it does not end."""
    while start < len(body):
        match = _QUOTED.match(body, start, start + _PIECE)
        assert match is not None, "the pattern matches the empty text too"
        end = match.end()
        if body[end : end + 1] == b'"':
            return end + 1
        start = end if end > start else start + 2  # a piece that ends between a backslash and its character
    return len(body)
