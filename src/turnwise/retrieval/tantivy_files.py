"""Checks the files of a tantivy index before they are mapped into memory: a damaged file would end the process.

A file ends with a JSON footer that has the CRC-32 of what comes before, the length of the footer, and a magic number.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from turnwise.retrieval.index_cursor import IndexDamaged

META = "meta.json"
_MAGIC = 1337
_ENDING = struct.Struct("<II")  # length of the footer, magic number
_MAX_FOOTER = 4096
_CHUNK = 2**20
_SUFFIXES = frozenset({"idx", "term", "store", "fast", "fieldnorm"})  # every segment has these


def check_files(folder: Path, *, has_checksums: bool) -> None:
    """Check that all files of an index are complete.

    Args:
        folder: the index.
        has_checksums: read the files and compare their checksums; False: look at their ends only.

    Raises:
        IndexDamaged: a file is missing or damaged.
    """
    for _ in range(5):
        meta = _read_meta(folder)
        try:
            for path in _segment_files(folder, meta):
                _check_file(path, has_checksums=has_checksums)
        except FileNotFoundError as error:
            if _read_meta(folder) == meta:
                raise IndexDamaged(f"{error.filename} is missing.") from error
        except OSError as error:
            raise IndexDamaged(f"{error.filename or folder} cannot be read: {error.strerror or error}.") from error
        else:
            return
    raise IndexDamaged(f"The files of {folder} change too fast.")


def count_deleted(folder: Path) -> tuple[int, int]:
    """Number of entries in all segments, and how many of them are deleted. Raises `IndexDamaged`."""
    segments = _read_meta(folder)["segments"]
    deleted = sum((segment["deletes"] or {}).get("num_deleted_docs", 0) for segment in segments)
    return sum(segment["max_doc"] for segment in segments), deleted


def remove_uncommitted_deletions(folder: Path) -> None:
    """Remove lists of deleted entries that no commit names. Only for the process that writes the index.

    A writer that was killed before its commit leaves such a list. The next writer continues with the number of the
    last commit, gives its own list the same name, and would fail because the file exists.

    Raises:
        IndexDamaged: the index does not say what it has committed.
    """
    meta = _read_meta(folder)
    committed = {path.name for path in _segment_files(folder, meta)}
    for path in folder.glob("*.del"):
        opstamp = path.name.split(".")[1]
        if path.name not in committed and opstamp.isdecimal() and int(opstamp) > int(meta.get("opstamp", 0)):
            path.unlink(missing_ok=True)


def _read_meta(folder: Path) -> Any:
    try:
        meta = json.loads((folder / META).read_bytes())
    except (OSError, ValueError) as error:
        raise IndexDamaged(f"{folder / META} cannot be read.") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("segments"), list):
        raise IndexDamaged(f"{folder / META} lists no segments.")
    return meta


def _segment_files(folder: Path, meta: Any) -> Iterator[Path]:
    """The files that the segments need, and those that they may have."""
    for segment in meta["segments"]:
        name = str(segment["segment_id"]).replace("-", "")
        yield from (folder / f"{name}.{suffix}" for suffix in sorted(_SUFFIXES))
        positions = folder / f"{name}.pos"
        if positions.exists():
            yield positions
        if segment["deletes"] is not None:
            yield folder / f"{name}.{segment['deletes']['opstamp']}.del"


def _check_file(path: Path, *, has_checksums: bool) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < _ENDING.size:
            raise IndexDamaged(f"{path} is damaged.")
        file.seek(size - _ENDING.size)
        length, magic = _ENDING.unpack(file.read(_ENDING.size))
        body_size = size - _ENDING.size - length
        if magic != _MAGIC or length > _MAX_FOOTER or body_size < 0:
            raise IndexDamaged(f"{path} is damaged.")
        file.seek(body_size)
        try:
            expected = int(json.loads(file.read(length))["crc"])
        except (ValueError, KeyError, TypeError) as error:
            raise IndexDamaged(f"{path} is damaged.") from error
        if has_checksums and _checksum(file, body_size) != expected:
            raise IndexDamaged(f"{path} is damaged.")


def _checksum(file: BinaryIO, size: int) -> int:
    file.seek(0)
    checksum = 0
    while size:
        chunk = file.read(min(_CHUNK, size))
        if not chunk:
            return -1
        checksum, size = zlib.crc32(chunk, checksum), size - len(chunk)
    return checksum
