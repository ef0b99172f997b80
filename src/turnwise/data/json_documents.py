"""The values of a JSON document as text, without holding more than one of them and a chunk of the file.

A document is an array of rows, several values one after the other, or an object that holds the rows: in a list under
one of its keys, or as the values of its keys. A broken element must not take the others with it. Where the brackets no
longer tell its end, the reading goes on at the next line that opens an object with the indentation of the first one.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal

from turnwise.data.json_prefix import parse_prefix
from turnwise.data.lines import MAX_LINE_BYTES, decode_error_reason
from turnwise.data.rows import BadRow

CHUNK_BYTES = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")
# A whole string counts as one mark, so brackets inside it are not seen; a lone quote is a string still open.
_MARK = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\],]', re.DOTALL)
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(r"[^\s,\]}]+")
# What Python's "surrogateescape" makes of bytes that are not UTF-8.
_UNDECODED = re.compile("[\udc80-\udcff]")


PREFIX_CHARACTERS = 2**16
Element = tuple[int, str] | BadRow
Key = str | None

# Says under which key of a document (which is cut off somewhere) a list of rows stands: the key, None where every key
# has a row or a list of messages of its own; False where the document is a row itself.
FindRows = Callable[[Any], "str | Literal[False] | None"]


def document_values(file: BinaryIO, find_rows: FindRows) -> Iterator[Element]:
    """The text of every row in the documents of a file, valid or not, with the line it starts on."""
    reader = _Reader(file)
    while char := reader.next_char():
        if char == "[":
            yield from _elements(reader)
        elif char == "{":
            key = find_rows(parse_prefix(reader.ahead(PREFIX_CHARACTERS)))
            if key is False:
                yield _value(reader)
            else:
                yield from _members(reader, key, find_rows)
        elif char == ",":
            reader.advance(1)
        else:
            yield BadRow(reader.line, f"something stands between the values ({reader.ahead(20)[:20]!r})")
            return


def array_elements(file: BinaryIO) -> Iterator[Element]:
    """The text of every element of the array that a file is, valid or not, with the line it starts on."""
    reader = _Reader(file)
    reader.next_char()
    yield from _elements(reader)
    if reader.next_char():
        yield BadRow(reader.line, "something follows the ']' that closes the array")


def _elements(reader: "_Reader") -> Iterator[Element]:
    """The elements of the array at the cursor, which stands behind it afterwards."""
    reader.advance(1)  # the opening bracket
    opening: re.Pattern[str] | None = None
    while char := reader.next_char():
        line = reader.line
        if char == "]":
            reader.advance(1)
            return
        if char == ",":
            reader.advance(1)
            continue
        opening = opening or re.compile(r"\n" + re.escape(reader.indentation()) + r"\{")
        element = reader.element(opening)
        if element is None:
            yield BadRow(line, "the file ends in the middle of it")
            if not reader.skip_to(opening):
                return
        else:
            yield reader.checked(line, element)
    yield BadRow(reader.line, "the file ends before the array is closed with ']'")


def _members(reader: "_Reader", wanted: Key, find_rows: FindRows) -> Iterator[Element]:
    """The elements of the list under a key of the object at the cursor, or the values of all of its keys.

    Further lists of rows may stand behind the part of the object that `wanted` was recognised from: each is a bad row.
    """
    reader.advance(1)  # the opening brace
    while char := reader.next_char():
        if char == "}":
            reader.advance(1)
            return
        if char == ",":
            reader.advance(1)
            continue
        key = reader.string()
        if key is None or reader.next_char() != ":":
            break
        reader.advance(1)
        if reader.next_char() == "[" and key == wanted:
            yield from _elements(reader)
        else:
            value = _value(reader)
            if wanted is None or (isinstance(value, BadRow) and value.reason.startswith("the file ends")):
                yield value
            elif not isinstance(value, BadRow) and _is_list_of_rows(value[1], find_rows):
                yield BadRow(value[0], f"'{key}' holds rows, too, beside '{wanted}': write it to a file of its own")
    reader.skip_all()
    yield BadRow(reader.line, "the file ends before the object is closed with '}'")


def _is_list_of_rows(text: str, find_rows: FindRows) -> bool:
    return text.startswith("[") and find_rows({"rows": parse_prefix(text[:PREFIX_CHARACTERS])}) == "rows"


def _value(reader: "_Reader") -> Element:
    line = reader.line
    value = reader.value()
    if value is not None:
        return reader.checked(line, value)
    is_long = len(reader.text) - reader.at > MAX_LINE_BYTES
    reader.skip_all()  # where the next value begins cannot be told
    reason = f"it is longer than {MAX_LINE_BYTES >> 20} MiB" if is_long else "the file ends in the middle of it"
    return BadRow(line, reason)


class _Reader:
    """A cursor over decoded text: what lies before `at` is done, what lies behind is fetched when it is needed."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at, self.line = "", 0, 1
        self.bytes_done = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0  # bytes before `text`
        file.seek(self.bytes_done)

    def fetch(self) -> bool:
        """Read a further chunk; False at the end of the file."""
        raw = self.file.read(CHUNK_BYTES)
        self.bytes_done += _byte_length(self.text[: self.at])
        self.text, self.at = self.text[self.at :] + self.decoder.decode(raw, final=not raw), 0
        return bool(raw)

    def byte_offset(self, back: int) -> int:
        """How many bytes of the file lie before the character `back` characters before the cursor."""
        return self.bytes_done + _byte_length(self.text[: self.at - back])

    def advance(self, count: int) -> str:
        """Go past `count` characters and return them."""
        passed = self.text[self.at : self.at + count]
        self.at += count
        self.line += passed.count("\n")
        return passed

    def next_char(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            space = _SPACE.match(self.text, self.at)
            assert space is not None  # it may match nothing, but it matches
            self.advance(space.end() - self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.fetch():
                return ""

    def skip_all(self) -> None:
        """Go to the end of the file."""
        self.at = len(self.text)
        while self.fetch():
            self.at = len(self.text)

    def ahead(self, count: int) -> str:
        """The next characters, at most `count`."""
        while len(self.text) - self.at < count and self.fetch():
            pass
        return self.text[self.at : self.at + count]

    def checked(self, line: int, element: str) -> Element:
        """The element that has just been passed, or a bad row where it holds bytes that are no UTF-8."""
        undecoded = _UNDECODED.search(element)
        if undecoded is None:
            return line, element
        raw = element[undecoded.start() :].encode("utf-8", "surrogateescape")
        offset = self.byte_offset(len(element) - undecoded.start())
        return BadRow(line, decode_error_reason(self.file, raw, 0, offset))

    def string(self) -> str | None:
        """Go past the string at the cursor and return it; None where none stands there."""
        while (match := _STRING.match(self.text, self.at)) is None:
            if self.text[self.at : self.at + 1] != '"' or not self.fetch():
                return None
        quoted = self.advance(match.end() - self.at)
        try:
            value = json.loads(quoted)
        except ValueError:
            return quoted[1:-1]
        return value if isinstance(value, str) else None

    def value(self) -> str | None:
        """Go past the value at the cursor and return its text; None when no end is found."""
        while True:
            end = self._value_end()
            if end is not None:
                return self.advance(end - self.at)
            if len(self.text) - self.at > MAX_LINE_BYTES:
                return None
            if not self.fetch():
                rest = self.text[self.at :].rstrip()
                # A number or a word may end with the file.
                return self.advance(len(rest)) if rest and rest[0] not in '{["' else None

    def _value_end(self) -> int | None:
        """The end of the value at the cursor; None when it is not in what has been fetched."""
        if self.text[self.at] not in '{["':
            match = _SCALAR.match(self.text, self.at)
            return match.end() if match and match.end() < len(self.text) else None
        depth = 0
        for mark in _MARK.finditer(self.text, self.at):
            char = mark.group()
            if char == '"':
                return None
            depth += char in ("{", "[")
            depth -= char in ("}", "]")
            if depth <= 0:
                return mark.end()
        return None

    def indentation(self) -> str:
        """The white space between the last line's beginning and the cursor."""
        before = self.text[max(0, self.at - 100) : self.at]
        space = before[before.rfind("\n") + 1 :]
        return space if space.isspace() else ""

    def element(self, opening: re.Pattern[str]) -> str | None:
        """The element at the cursor, up to the comma or bracket behind it; None when no end is found."""
        while True:
            end = self._end()
            if end is not None:
                # A lost quote or brace can push the end into a later element; the layout tells where that one begins.
                # Files without indentation begin every object so, also those inside an element.
                sooner = opening.search(self.text, self.at, end)
                if sooner and _is_valid(self.text[self.at : end]):
                    sooner = None
                return self.advance((sooner.start() if sooner else end) - self.at)
            if len(self.text) - self.at > MAX_LINE_BYTES or not self.fetch():
                return None

    def _end(self) -> int | None:
        depth = 0
        for mark in _MARK.finditer(self.text, self.at):
            char = mark.group()
            if char == '"':
                return None
            if char in ("{", "["):
                depth += 1
            elif char in (",", "]") and depth == 0:
                return mark.start()
            elif char in ("}", "]"):
                depth = max(0, depth - 1)
        return None

    def skip_to(self, opening: re.Pattern[str]) -> bool:
        """Go to the next line that opens an element; False when there is none in what has been fetched."""
        found = opening.search(self.text, self.at)
        if found:
            self.advance(found.start() - self.at)
        return found is not None


def _is_valid(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _byte_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
