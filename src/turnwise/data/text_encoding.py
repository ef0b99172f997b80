"""Transcodes text files to UTF-8 on the fly; the parsers see UTF-8 only.

A byte order mark identifies UTF-8, UTF-16 and UTF-32. Every other encoding has to be named by the user, because a wrong
guess would silently change letters. Bare carriage returns at line ends become line feeds.
"""

import codecs
import io
import re
from itertools import pairwise
from typing import Any, BinaryIO, cast

from turnwise.core.errors import InvalidParameter

HEAD_BYTES = 2**16
CHUNK_BYTES = 2**16
# UTF-32 comes first: its little-endian mark starts with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_CHINESE = re.compile("[\u4e00-\u9fff\u3000-\u303f\uff00-\uff5e]")
# Replaces undecodable bytes by an unpaired surrogate, which "surrogateescape" encodes as the invalid byte 0xFF.
_ERROR_HANDLER = "turnwise.invalid_byte"
codecs.register_error(_ERROR_HANDLER, lambda error: ("\udcff", getattr(error, "end", 0)))


class TranscodedFile(io.BufferedReader):
    """A file in `source_encoding`, transcoded to UTF-8; bytes that cannot be decoded become 0xFF, which is invalid."""

    source_encoding: str


def check_encoding(name: str) -> str:
    """Return the canonical name of an encoding. Raises `InvalidParameter` if Python does not know it."""
    try:
        info = codecs.lookup(name)
        "".encode(info.name)
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidParameter(
            "encoding", f"There is no text encoding '{name}'. Examples: utf-8, utf-16, windows-1252, gbk, shift_jis."
        ) from error
    return info.name


def transcode_to_utf8(file: BinaryIO, encoding: str | None = None) -> BinaryIO:
    """Return a file with the same text in UTF-8: `file` itself if it needs no change.

    Args:
        file: seekable.
        encoding: encoding of the file. Default: UTF-8, or what its byte order mark says.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    marked_encoding = next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    encoding = check_encoding(encoding) if encoding else marked_encoding or "utf-8"
    if encoding in ("utf-16", "utf-32") and marked_encoding is None:
        encoding += "-le"  # the byte order of Windows
    bare_returns = _has_bare_returns(head, encoding)
    if encoding in ("utf-8", "ascii") and not bare_returns:
        return file
    transcoded = TranscodedFile(cast(Any, _Transcoder(file, encoding, bare_returns)), CHUNK_BYTES)
    transcoded.source_encoding = encoding
    return cast(BinaryIO, transcoded)


def _has_bare_returns(head: bytes, encoding: str) -> bool:
    """Return True if lines end in a carriage return alone, as on classic Mac OS."""
    if b"\r" not in head or b"\0\0\0\0" in head:
        return False
    text = head.decode(encoding, errors="ignore")
    return "\r" in text and "\n" not in text and "\0" not in text


class _Transcoder(io.RawIOBase):
    """A raw stream of UTF-8. Seeking backwards decodes again from the start."""

    def __init__(self, file: BinaryIO, encoding: str, bare_returns: bool) -> None:
        self._file, self._encoding, self._bare_returns = file, encoding, bare_returns
        self._restart()

    def _restart(self) -> None:
        self._file.seek(0)
        self._decoder = codecs.getincrementaldecoder(self._encoding)(_ERROR_HANDLER)
        self._pending, self._offset, self._is_start = b"", 0, True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._offset
        elif whence == io.SEEK_END:
            raise io.UnsupportedOperation("The length of the transcoded text is unknown.")
        if offset < self._offset:
            self._restart()
        while self._offset < offset and self.readinto(bytearray(min(CHUNK_BYTES, offset - self._offset))):
            pass
        return self._offset

    def readinto(self, buffer: Any) -> int:
        while not self._pending:
            raw = self._file.read(CHUNK_BYTES)
            text = self._decoder.decode(raw, final=not raw)
            if self._is_start and text:
                text, self._is_start = text.removeprefix("\ufeff"), False
            if self._bare_returns:
                text = text.replace("\r", "\n")
            self._pending = text.encode("utf-8", "surrogateescape")
            if not raw:
                break
        view = memoryview(buffer)
        size = min(len(view), len(self._pending))
        view[:size], self._pending = self._pending[:size], self._pending[size:]
        self._offset += size
        return size


def guess_encoding(raw: bytes) -> str:
    """Guess the encoding of bytes that are not UTF-8: "gbk" if they decode to Chinese, else "windows-1252"."""
    try:
        text = raw.decode("gb18030")
    except UnicodeDecodeError as error:
        if error.end < len(raw) - 4:
            return "windows-1252"
        text = raw[: error.start].decode("gb18030", errors="ignore")
    letters = [letter for letter in text if not letter.isascii()]
    num_chinese = len(_CHINESE.findall(text))
    num_adjacent = sum(1 for first, second in pairwise(text) if not first.isascii() and not second.isascii())
    is_chinese = letters and num_chinese >= 0.9 * len(letters) and num_adjacent >= len(letters) / 2
    return "gbk" if is_chinese else "windows-1252"
