"""Opens compressed files as streams: gzip, bzip2, xz, zstandard and zip archives with one member.

Data is decompressed on demand, so that memory stays small however large the content is.
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
MAX_XZ_MEMORY = 2**30  # bytes; a file may declare a dictionary of any size
MAX_ZSTD_WINDOW = 2**28
ZSTD_INPUT_BYTES = 2**10  # per call; a block of four bytes may expand to 128 KiB
MAGIC_BYTES = 8
_OFFICE_MEMBERS = ("[Content_Types].xml", "mimetype")


class DamagedFile(Exception):
    """The compressed stream is corrupt or ends too early."""


def strip_compression_suffix(name: str) -> str:
    """Return a file name without the suffix of a compression."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def open_decompressed(raw: BinaryIO, name: str) -> tuple[BinaryIO, str]:
    """Return the decompressed content of `raw`, seekable, and the file name without the compression.

    A file that is not compressed is returned unchanged. Raises `InvalidData` for an archive that does not hold exactly
    one file, and if a package is missing.
    """
    head = raw.read(MAGIC_BYTES)
    raw.seek(0)
    inner_name = strip_compression_suffix(name)
    if head.startswith(b"\x1f\x8b"):
        return _buffered(raw, lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file))), inner_name
    if head.startswith(b"BZh"):
        return _buffered(raw, lambda file: cast(BinaryIO, bz2.BZ2File(file))), inner_name
    if head.startswith(b"\xfd7zXZ\0"):
        _check_xz_memory(raw)
        return _buffered(raw, lambda file: cast(BinaryIO, lzma.LZMAFile(file))), inner_name
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _buffered(raw, _zstandard), inner_name
    if head.startswith(b"PK\x03\x04"):
        return _zip_member(raw)
    return raw, name


class _Decompressing(io.RawIOBase):
    """A decompressed raw stream. Seeking backwards starts again; all damage raises `DamagedFile`."""

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
    damage = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)
    # bz2 raises an OSError without an error number. The error class of zstandard is known only if it is installed.
    is_bz2_damage = isinstance(error, OSError) and error.errno is None
    return isinstance(error, damage) or is_bz2_damage or type(error).__module__.startswith("zstandard")


def _zstandard(raw: BinaryIO) -> BinaryIO:
    try:
        import zstandard
    except ImportError as error:
        raise InvalidData("Reading .zst needs zstandard: pip install 'turnwise[zstd]', or unpack the file.") from error
    return cast(BinaryIO, _ZstdStream(raw, zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)))


class _ZstdStream:
    """A stream of concatenated Zstandard frames. Unlike zstandard's reader it raises `EOFError` for a truncated one."""

    def __init__(self, raw: BinaryIO, decompressor: Any) -> None:
        self._raw, self._decompressor = raw, decompressor
        self._frame: Any = None
        self._input = self._output = b""

    def read(self, size: int) -> bytes:
        while not self._output:
            self._input = self._input or self._raw.read(ZSTD_INPUT_BYTES)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("the last frame is truncated")
                return b""
            self._frame = self._frame or self._decompressor.decompressobj()
            self._output, self._input = self._frame.decompress(self._input), b""
            if self._frame.eof:
                self._input, self._frame = self._frame.unused_data, None
        data, self._output = self._output[:size], self._output[size:]
        return data


def _check_xz_memory(raw: BinaryIO) -> None:
    """Raise `InvalidData` if the dictionary of an xz file needs more than `MAX_XZ_MEMORY`."""
    try:
        lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY).decompress(raw.read(1024), max_length=1)
    except lzma.LZMAError as error:
        if "Memory" in str(error):
            raise InvalidData(f"Decompressing needs more than {MAX_XZ_MEMORY >> 30} GiB of memory.") from error
    raw.seek(0)


def _zip_member(raw: BinaryIO) -> tuple[BinaryIO, str]:
    try:
        archive = zipfile.ZipFile(raw)
        members = [member for member in archive.infolist() if not member.is_dir()]
    except zipfile.BadZipFile as error:
        raise InvalidData(f"The zip archive is damaged ({error}).") from error
    names = [member.filename for member in members]
    if any(name in _OFFICE_MEMBERS for name in names):
        raw.seek(0)
        return raw, ""  # an office document, which `signatures` identifies
    members = [member for member in members if not member.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        first_names = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        raise InvalidData(
            f"The zip archive holds {len(members)} files ({first_names}). Unpack it and name one file or the folder."
        )
    if members[0].flag_bits & 1:
        raise InvalidData("The zip archive is encrypted. Unpack it first.")

    def open_member(file: BinaryIO) -> BinaryIO:
        return cast(BinaryIO, zipfile.ZipFile(file).open(members[0]))

    try:
        return _buffered(raw, open_member), members[0].filename
    except NotImplementedError as error:
        raise InvalidData(f"The zip archive uses an unsupported compression ({error}). Unpack it.") from error
