"""Splits JSON documents into the texts of their rows, with at most one row and one chunk of the file in memory.

A document is an array of rows, several values one after another, or an object that holds rows: in a list under one key,
or as the values of all keys. A broken element does not affect the others: if its brackets do not match, the next
element starts at the next line that opens an object with the indentation of the first one.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal

from turnwise.data.json_cursor import Element, JsonCursor
from turnwise.data.json_prefix import parse_prefix
from turnwise.data.lines import MAX_LINE_BYTES
from turnwise.data.rows import BadRow

PREFIX_CHARACTERS = 2**16

# Finds the rows in a document that may be cut off. Returns the key of the list of rows, None if every value is a row or
# a list of messages, and False if the document is a row itself.
FindRowsKey = Callable[[Any], "str | Literal[False] | None"]


def document_values(file: BinaryIO, find_rows_key: FindRowsKey) -> Iterator[Element]:
    """Yield the text of every row in the documents of a file, valid or not, with the line at which it starts."""
    cursor = JsonCursor(file)
    while char := cursor.next_char():
        if char == "[":
            yield from _elements(cursor)
        elif char == "{":
            key = find_rows_key(parse_prefix(cursor.peek(PREFIX_CHARACTERS)))
            if key is False:
                yield _take_value(cursor)
            else:
                yield from _members(cursor, key, find_rows_key)
        elif char == ",":
            cursor.advance(1)
        else:
            yield BadRow(cursor.line, f"unexpected text between the values ({cursor.peek(20)!r})")
            return


def array_elements(file: BinaryIO) -> Iterator[Element]:
    """Yield the text of every element of a file that is one array, valid or not, with the line at which it starts."""
    cursor = JsonCursor(file)
    cursor.next_char()
    yield from _elements(cursor)
    if cursor.next_char():
        yield BadRow(cursor.line, "unexpected text after the ']' that closes the array")


def _elements(cursor: JsonCursor) -> Iterator[Element]:
    """Yield the elements of the array at the cursor and step over it."""
    cursor.advance(1)  # "["
    next_element: re.Pattern[str] | None = None
    while char := cursor.next_char():
        line = cursor.line
        if char == "]":
            cursor.advance(1)
            return
        if char == ",":
            cursor.advance(1)
            continue
        next_element = next_element or re.compile(r"\n" + re.escape(cursor.indentation()) + r"\{")
        element = cursor.take_element(next_element)
        if element is None:
            yield BadRow(line, "the file ends in the middle of it")
            if not cursor.skip_to(next_element):
                return
        else:
            yield cursor.check_utf8(line, element)
    yield BadRow(cursor.line, "the file ends before the array is closed with ']'")


def _members(cursor: JsonCursor, rows_key: str | None, find_rows_key: FindRowsKey) -> Iterator[Element]:
    """Yield the elements of the list under `rows_key` in the object at the cursor; without a key, all of its values.

    The prefix from which `rows_key` was detected may end before further lists of rows: each of them is a bad row.
    """
    cursor.advance(1)  # "{"
    while char := cursor.next_char():
        if char == "}":
            cursor.advance(1)
            return
        if char == ",":
            cursor.advance(1)
            continue
        key = cursor.take_string()
        if key is None or cursor.next_char() != ":":
            break
        cursor.advance(1)
        if cursor.next_char() == "[" and key == rows_key:
            yield from _elements(cursor)
        else:
            value = _take_value(cursor)
            if rows_key is None or (isinstance(value, BadRow) and value.reason.startswith("the file ends")):
                yield value
            elif not isinstance(value, BadRow) and _is_list_of_rows(value[1], find_rows_key):
                reason = f"'{key}' holds rows, too, beside '{rows_key}': write them to separate files"
                yield BadRow(value[0], reason)
    cursor.skip_all()
    yield BadRow(cursor.line, "the file ends before the object is closed with '}'")


def _is_list_of_rows(text: str, find_rows_key: FindRowsKey) -> bool:
    return text.startswith("[") and find_rows_key({"rows": parse_prefix(text[:PREFIX_CHARACTERS])}) == "rows"


def _take_value(cursor: JsonCursor) -> Element:
    line = cursor.line
    value = cursor.take_value()
    if value is not None:
        return cursor.check_utf8(line, value)
    is_long = cursor.has_long_value()
    cursor.skip_all()  # the start of the next value is unknown
    reason = f"it is longer than {MAX_LINE_BYTES >> 20} MiB" if is_long else "the file ends in the middle of it"
    return BadRow(line, reason)
