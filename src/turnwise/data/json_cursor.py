"""A cursor over the text of a JSON file that is read in chunks: steps over values without parsing them.

Values may be broken JSON, so their ends are found by brackets and strings alone. Methods fetch chunks on demand, and a
fetch drops the text before the cursor.
"""

import codecs
import json
import re
from typing import BinaryIO

from turnwise.data.lines import MAX_LINE_BYTES, decode_error_reason
from turnwise.data.rows import BadRow

CHUNK_BYTES = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")
# A complete string is one mark, which hides the brackets in it. A lone quote opens a string that is not complete yet.
_MARK = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\],]', re.DOTALL)
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(r"[^\s,\]}]+")
_INVALID_BYTES = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as "surrogateescape" decodes them
Element = tuple[int, str] | BadRow  # text of a value with the line at which it starts


class JsonCursor:
    """A position in the decoded text of a file. `line` is its line number, from 1."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at, self.line = "", 0, 1
        # Bytes of the file before `_text`.
        self._dropped_bytes = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(self._dropped_bytes)

    def next_char(self) -> str:
        """Skip white space and return the character at the cursor; "" at the end of the file."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None, "the pattern matches the empty string"
            self.advance(space.end() - self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fetch():
                return ""

    def peek(self, count: int) -> str:
        """Return up to `count` characters from the cursor on."""
        while len(self._text) - self._at < count and self._fetch():
            pass
        return self._text[self._at : self._at + count]

    def advance(self, count: int) -> str:
        """Step over `count` fetched characters and return them."""
        passed = self._text[self._at : self._at + count]
        self._at += count
        self.line += passed.count("\n")
        return passed

    def take_string(self) -> str | None:
        """Step over the string at the cursor and return its value; None if there is no string."""
        while (match := _STRING.match(self._text, self._at)) is None:
            if self._text[self._at : self._at + 1] != '"' or not self._fetch():
                return None
        quoted = self.advance(match.end() - self._at)
        try:
            value = json.loads(quoted)
        except ValueError:
            return quoted[1:-1]
        return value if isinstance(value, str) else None

    def take_value(self) -> str | None:
        """Step over the value at the cursor and return its text; None if it does not end."""
        while True:
            end = self._value_end()
            if end is not None:
                return self.advance(end - self._at)
            if self.has_long_value():
                return None
            if not self._fetch():
                tail = self._text[self._at :].rstrip()
                # A number or a literal may end with the file.
                return self.advance(len(tail)) if tail and tail[0] not in '{["' else None

    def take_element(self, next_element: re.Pattern[str]) -> str | None:
        """Step over an array element, up to the comma or bracket after it, and return its text; None if it has no end.

        A lost quote or brace moves the end into a later element, so an invalid element ends before the first match of
        `next_element`. A valid one does not: without indentation, the pattern also matches objects inside an element.
        """
        while True:
            end = self._element_end()
            if end is not None:
                match = next_element.search(self._text, self._at, end)
                if match and not _is_valid(self._text[self._at : end]):
                    end = match.start()
                return self.advance(end - self._at)
            if self.has_long_value() or not self._fetch():
                return None

    def skip_to(self, pattern: re.Pattern[str]) -> bool:
        """Move to the next match in the fetched text; return False without a match."""
        match = pattern.search(self._text, self._at)
        if match:
            self.advance(match.start() - self._at)
        return match is not None

    def skip_all(self) -> None:
        """Move to the end of the file."""
        self._at = len(self._text)
        while self._fetch():
            self._at = len(self._text)

    def indentation(self) -> str:
        """Return the white space between the start of the line and the cursor; "" if there is anything else."""
        before = self._text[max(0, self._at - 100) : self._at]
        space = before[before.rfind("\n") + 1 :]
        return space if space.isspace() else ""

    def has_long_value(self) -> bool:
        """Return True if more text has been fetched than a value may have."""
        return len(self._text) - self._at > MAX_LINE_BYTES

    def check_utf8(self, line: int, text: str) -> Element:
        """Return the text that ends at the cursor with its line, or a bad row if it holds bytes that are not UTF-8."""
        invalid = _INVALID_BYTES.search(text)
        if invalid is None:
            return line, text
        raw = text[invalid.start() :].encode("utf-8", "surrogateescape")
        start = self._at - (len(text) - invalid.start())
        return BadRow(line, decode_error_reason(self._file, raw, 0, self._byte_offset(start)))

    def _fetch(self) -> bool:
        """Read another chunk and drop the text before the cursor; return False at the end of the file."""
        raw = self._file.read(CHUNK_BYTES)
        self._dropped_bytes += _byte_length(self._text[: self._at])
        self._text, self._at = self._text[self._at :] + self._decoder.decode(raw, final=not raw), 0
        return bool(raw)

    def _byte_offset(self, index: int) -> int:
        """Return the offset in the file of the character `_text[index]`."""
        return self._dropped_bytes + _byte_length(self._text[:index])

    def _value_end(self) -> int | None:
        """Return the end of the value at the cursor; None if it has not been fetched."""
        if self._text[self._at] not in '{["':
            match = _SCALAR.match(self._text, self._at)
            return match.end() if match and match.end() < len(self._text) else None
        depth = 0
        for mark in _MARK.finditer(self._text, self._at):
            char = mark.group()
            if char == '"':
                return None
            depth += char in ("{", "[")
            depth -= char in ("}", "]")
            if depth <= 0:
                return mark.end()
        return None

    def _element_end(self) -> int | None:
        """Return the position of the comma or bracket after the element at the cursor; None if it was not fetched."""
        depth = 0
        for mark in _MARK.finditer(self._text, self._at):
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


def _is_valid(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _byte_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
