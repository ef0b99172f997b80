"""Compressed files as streams of their content: gzip, bzip2, xz, zstandard and zip archives with one member.

Nothing is decompressed ahead: a reader takes what it asks for, so an endless stream costs no memory.
"""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from turnwise.core.errors import InvalidData

SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
MAX_XZ_MEMORY = 2**30  # a file may declare any dictionary size
MAX_ZSTD_WINDOW = 2**28
ZSTD_PIECE = 2**10
HEAD_BYTES = 8
_OFFICE = ("[Content_Types].xml", "mimetype")


class DamagedFile(Exception):
    """The compressed stream breaks off or is corrupt here."""


def without_suffix(name: str) -> str:
    """A file name without the suffix of its compression."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def open_decompressed(raw: BinaryIO, name: str) -> tuple[BinaryIO, str]:
    """The content of `raw`, seekable, and the name of the file in it. A file that is not compressed comes back as is.

    Raises `InvalidData` for an archive that does not hold exactly one file, or where a package is missing.
    """
    head = raw.read(HEAD_BYTES)
    raw.seek(0)
    inner = without_suffix(name)
    if head.startswith(b"\x1f\x8b"):
        return _buffered(raw, lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file))), inner
    if head.startswith(b"BZh"):
        return _buffered(raw, lambda file: cast(BinaryIO, bz2.BZ2File(file))), inner
    if head.startswith(b"\xfd7zXZ\0"):
        _check_xz_memory(raw)
        return _buffered(raw, lambda file: cast(BinaryIO, lzma.LZMAFile(file))), inner
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _buffered(raw, _zstandard), inner
    if head.startswith(b"PK\x03\x04"):
        return _zip_member(raw)
    return raw, name


class _Decompressing(io.RawIOBase):
    """A decompressed stream that starts again to seek backwards and reports all damage as `DamagedFile`."""

    def __init__(self, raw: BinaryIO, open_stream: Callable[[BinaryIO], BinaryIO]) -> None:
        self._raw, self._open_stream = raw, open_stream
        self._stream, self._offset = open_stream(raw), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        try:
            data = self._stream.read(len(view))
        except Exception as error:
            if _is_damage(error):
                raise DamagedFile(str(error)) from error
            raise
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._offset
        elif whence == io.SEEK_END:
            while self.readinto(bytearray(2**20)):
                pass
            offset += self._offset
        if offset < self._offset:
            self._raw.seek(0)
            self._stream, self._offset = self._open_stream(self._raw), 0
        while self._offset < offset and self.readinto(bytearray(min(2**20, offset - self._offset))):
            pass
        return self._offset


def _buffered(raw: BinaryIO, open_stream: Callable[[BinaryIO], BinaryIO]) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Decompressing(raw, open_stream), 2**16))


def _is_damage(error: Exception) -> bool:
    known = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)
    # bz2 raises a bare OSError without an error number; zstandard has a class of its own.
    bare = isinstance(error, OSError) and error.errno is None
    return isinstance(error, known) or bare or type(error).__module__.startswith("zstandard")


def _zstandard(raw: BinaryIO) -> BinaryIO:
    try:
        import zstandard
    except ImportError as error:
        raise InvalidData("Reading .zst needs zstandard: pip install 'turnwise[zstd]', or unpack the file.") from error
    return cast(BinaryIO, _ZstdStream(raw, zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)))


class _ZstdStream:
    """Zstandard frames, one after the other. Unlike zstandard's own reader it reports a frame that is cut off.

    A block of four bytes may stand for 128 KiB, so input is taken in small pieces.
    """

    def __init__(self, raw: BinaryIO, decompressor: Any) -> None:
        self._raw, self._decompressor = raw, decompressor
        self._frame: Any = None
        self._input = self._output = b""

    def read(self, size: int) -> bytes:
        while not self._output:
            self._input = self._input or self._raw.read(ZSTD_PIECE)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("the last frame is cut off")
                return b""
            self._frame = self._frame or self._decompressor.decompressobj()
            self._output, self._input = self._frame.decompress(self._input), b""
            if self._frame.eof:
                self._input, self._frame = self._frame.unused_data, None
        piece, self._output = self._output[:size], self._output[size:]
        return piece


def _check_xz_memory(raw: BinaryIO) -> None:
    """Refuse a file whose dictionary alone would fill the memory."""
    try:
        lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY).decompress(raw.read(1024), max_length=1)
    except lzma.LZMAError as error:
        if "Memory" in str(error):
            raise InvalidData(f"Unpacking needs more than {MAX_XZ_MEMORY >> 30} GiB of memory.") from error
    raw.seek(0)


def _zip_member(raw: BinaryIO) -> tuple[BinaryIO, str]:
    try:
        archive = zipfile.ZipFile(raw)
        members = [member for member in archive.infolist() if not member.is_dir()]
    except zipfile.BadZipFile as error:
        raise InvalidData(f"The zip archive is damaged ({error}).") from error
    names = [member.filename for member in members]
    if any(name in _OFFICE for name in names):
        raw.seek(0)
        return raw, ""  # an office document, which is named by its signature
    members = [member for member in members if not member.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        listed = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        raise InvalidData(
            f"The zip archive holds {len(members)} files ({listed}). Unpack it and name the data file, or the folder."
        )
    if members[0].flag_bits & 1:
        raise InvalidData("The zip archive is encrypted. Unpack it first.")

    def open_member(file: BinaryIO) -> BinaryIO:
        return cast(BinaryIO, zipfile.ZipFile(file).open(members[0]))

    try:
        return _buffered(raw, open_member), members[0].filename
    except NotImplementedError as error:
        raise InvalidData(f"The zip archive uses a compression that cannot be read ({error}). Unpack it.") from error
