"""The elements of one JSON array as text, without holding more than one of them and a chunk of the file.

A broken element must not take the others with it. Where the brackets no longer tell its end, the reading goes on at the
next line that opens an object with the indentation of the first one.
"""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from turnwise.data.lines import MAX_LINE_BYTES, not_utf8
from turnwise.data.rows import BadRow

CHUNK_BYTES = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")
# A whole string counts as one mark, so brackets inside it are not seen; a lone quote is a string still open.
_MARK = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\],]', re.DOTALL)
# What Python's "surrogateescape" makes of bytes that are not UTF-8.
_UNDECODED = re.compile("[\udc80-\udcff]")


def array_elements(file: BinaryIO) -> Iterator[tuple[int, str] | BadRow]:
    """The text of every element, valid or not, with the line it starts on."""
    reader = _Reader(file)
    reader.next_char()
    reader.advance(1)  # the opening bracket
    opening: re.Pattern[str] | None = None
    while char := reader.next_char():
        line = reader.line
        if char == "]":
            reader.advance(1)
            if reader.next_char():
                yield BadRow(reader.line, "something follows the ']' that closes the array")
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
        elif undecoded := _UNDECODED.search(element):
            byte = ord(undecoded.group()) - 0xDC00
            yield BadRow(line, not_utf8(byte, reader.byte_offset(len(element) - undecoded.start())))
        else:
            yield line, element
    yield BadRow(reader.line, "the file ends before the array is closed with ']'")


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
                sooner = opening.search(self.text, self.at, end)
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


def _byte_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
