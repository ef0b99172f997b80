"""Text in any encoding as a stream of UTF-8, so that the parsers know only one.

A byte order mark names UTF-8, UTF-16 and UTF-32; every other encoding has to be named by the user, because a wrong
guess would change letters without a word. A file whose lines end in a bare carriage return gets line feeds.
"""

import codecs
import io
import re
from itertools import pairwise
from typing import Any, BinaryIO, cast

from turnwise.core.errors import InvalidParameter

HEAD_BYTES = 2**16
CHUNK_BYTES = 2**16
# The marks of UTF-32 first: the little-endian one begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_COMMON_CHINESE = re.compile("[\u4e00-\u9fff\u3000-\u303f\uff00-\uff5e]")
_UNDECODABLE = "turnwise.decode_error_reason"
codecs.register_error(_UNDECODABLE, lambda error: ("\udcff", getattr(error, "end", 0)))


class TranscodedFile(io.BufferedReader):
    """A file in `source_encoding` that reads as UTF-8; bytes that cannot be decoded stay invalid (0xFF)."""

    source_encoding: str


def check_encoding(name: str) -> str:
    """The codec's own name. Raises `InvalidParameter` where Python has none."""
    try:
        info = codecs.lookup(name)
        "".encode(info.name)
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidParameter(
            "encoding", f"There is no text encoding '{name}'. Examples: utf-8, utf-16, windows-1252, gbk, shift_jis."
        ) from error
    return info.name


def transcode_to_utf8(file: BinaryIO, encoding: str | None = None) -> BinaryIO:
    """The same text in UTF-8; the file itself where it already is.

    Args:
        file: seekable.
        encoding: its encoding; None: UTF-8, or what its byte order mark says.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    encoding = check_encoding(encoding) if encoding else marked or "utf-8"
    if encoding in ("utf-16", "utf-32") and marked is None:
        encoding += "-le"  # what Windows writes
    bare_returns = _has_bare_returns(head, encoding)
    if encoding in ("utf-8", "ascii") and not bare_returns:
        return file
    transcoded = TranscodedFile(cast(Any, _Transcoder(file, encoding, bare_returns)), CHUNK_BYTES)
    transcoded.source_encoding = encoding
    return cast(BinaryIO, transcoded)


def _has_bare_returns(head: bytes, encoding: str) -> bool:
    """Whether lines end in a carriage return alone, as on the first Macintoshes."""
    if b"\r" not in head or b"\0\0\0\0" in head:
        return False
    text = head.decode(encoding, errors="ignore")
    return "\r" in text and "\n" not in text and "\0" not in text


class _Transcoder(io.RawIOBase):
    def __init__(self, file: BinaryIO, encoding: str, bare_returns: bool) -> None:
        self._file, self._encoding, self._bare_returns = file, encoding, bare_returns
        self._restart()

    def _restart(self) -> None:
        self._file.seek(0)
        self._decoder = codecs.getincrementaldecoder(self._encoding)(_UNDECODABLE)
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
            raise io.UnsupportedOperation("The length of the text is not known.")
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
    """What text that is not UTF-8 is likely to be: Chinese in GBK, or Western in Windows-1252."""
    try:
        text = raw.decode("gb18030")
    except UnicodeDecodeError as error:
        if error.end < len(raw) - 4:
            return "windows-1252"
        text = raw[: error.start].decode("gb18030", errors="ignore")
    letters = [letter for letter in text if not letter.isascii()]
    common = len(_COMMON_CHINESE.findall(text))
    pairs = sum(1 for first, second in pairwise(text) if not first.isascii() and not second.isascii())
    return "gbk" if letters and common >= 0.9 * len(letters) and pairs >= len(letters) / 2 else "windows-1252"
