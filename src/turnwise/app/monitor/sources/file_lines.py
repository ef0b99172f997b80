"""Complete lines of a file from an offset on, with limits on their length and number."""

import glob
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from turnwise.core.errors import InvalidData

MAX_LINE = 2**20  # bytes; longer lines are skipped
ANCHOR_LENGTH = 64  # bytes before the offset that show that the file is still the same
_BLOCK = 2**16
_ROTATION = re.compile(r"[.-]\d[\d._T-]*")


@dataclass(frozen=True, slots=True)
class FilePosition:
    """How far a file was read.

    Attributes:
        inode: the file's number in the file system: it stays when the file is renamed.
        generation: number of files and truncations before this one; together with the offset it names a line.
        offset: bytes that were read, always after a line break.
        anchor: digest of the last bytes before the offset.
        is_skipping: the line at the offset is too long, and its beginning was skipped.
    """

    inode: int
    generation: int = 0
    offset: int = 0
    anchor: str = ""
    is_skipping: bool = False

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "FilePosition":
        """The position in an object that `to_json` made. Raises `InvalidData` if it is of another kind of source."""
        check_position(values, "inode")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The position as a JSON object."""
        return {
            "inode": self.inode, "generation": self.generation, "offset": self.offset, "anchor": self.anchor,
            "is_skipping": self.is_skipping,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileLines:
    """Lines of a file.

    Attributes:
        lines: offset and content of every line, without the line break. Content None: the line is too long.
        position: position after them.
        has_more: there are more complete lines.
    """

    lines: tuple[tuple[int, bytes | None], ...]
    position: FilePosition
    has_more: bool


def read_lines(
    file: BinaryIO, position: FilePosition, limit: int, *, accept_partial: Callable[[bytes], bool]
) -> FileLines:
    """Read up to `limit` lines.

    Args:
        file: open file; its own position is not used.
        position: where to begin.
        limit: maximum number of lines.
        accept_partial: returns True if a last line without a line break is complete: nothing will be added to it.
    """
    file.seek(position.offset)
    lines: list[tuple[int, bytes | None]] = []
    offset, is_skipping, is_at_end = position.offset, position.is_skipping, False
    rest = b""
    while len(lines) < limit:
        end = rest.find(b"\n")
        if end >= 0:
            length, content = end + 1, rest[:end]
            if is_skipping:
                is_skipping = False
            else:
                lines.append((offset, content if len(content) <= MAX_LINE else None))
            offset, rest = offset + length, rest[length:]
            continue
        if len(rest) > MAX_LINE:
            if not is_skipping:
                lines.append((offset, None))
            offset, rest, is_skipping = offset + len(rest), b"", True
        block = file.read(_BLOCK if len(rest) < _BLOCK else MAX_LINE)
        if not block:
            is_at_end = True
            break
        rest += block
    if is_at_end and rest and accept_partial(rest):
        if not is_skipping:
            lines.append((offset, rest))
        offset, rest, is_skipping = offset + len(rest), b"", False
    after = replace(position, offset=offset, anchor=read_anchor(file, offset), is_skipping=is_skipping)
    return FileLines(tuple(lines), after, not is_at_end)


def read_anchor(file: BinaryIO, offset: int) -> str:
    """Digest of the last bytes before an offset."""
    start = max(0, offset - ANCHOR_LENGTH)
    file.seek(start)
    return hashlib.blake2b(file.read(offset - start), digest_size=8).hexdigest()


def start_of_file(file: BinaryIO, previous: FilePosition | None) -> FilePosition:
    """Position of the beginning of a file that follows the file of another position."""
    generation = 0 if previous is None else previous.generation + 1
    return FilePosition(os.fstat(file.fileno()).st_ino, generation, anchor=read_anchor(file, 0))


def is_same_file(file: BinaryIO, position: FilePosition) -> bool:
    """True if the file still has the bytes that were read: it was neither truncated nor replaced."""
    status = os.fstat(file.fileno())
    return (
        status.st_ino == position.inode
        and status.st_size >= position.offset
        and read_anchor(file, position.offset) == position.anchor
    )


def check_position(position: Mapping[str, Any], key: str) -> None:
    """Raise `InvalidData` if a stored position lacks the key that all of its kind have."""
    if key not in position:
        raise InvalidData(
            "The store has the position of a source of another kind under this name. Give the source another `name`."
        )


def find_by_inode(path: Path, inode: int) -> Path | None:
    """The file with this number whose name begins like `path`, such as the log.1 that a log was renamed to."""
    for candidate in sorted(path.parent.glob(f"{glob.escape(path.name)}*")):
        if (status := _file_status(candidate)) is not None and status.st_ino == inode:
            return candidate
    return None


def next_rotated(path: Path, old: Path) -> Path | None:
    """The file that `path` was renamed to after `old`: the next one by time of change. None: there is none.

    Only names such as log.2, log-20260302 or log.2026-03-02 count: a log.bak may be a copy.
    """
    old_status = _file_status(old)
    rotated = []
    for candidate in path.parent.glob(f"{glob.escape(path.name)}*"):
        status = _file_status(candidate)
        if (
            old_status is not None
            and status is not None
            and _ROTATION.fullmatch(candidate.name.removeprefix(path.name))
            and status.st_mtime_ns > old_status.st_mtime_ns
        ):
            rotated.append((status.st_mtime_ns, candidate))
    return min(rotated)[1] if rotated else None


def _file_status(path: Path) -> os.stat_result | None:
    """Status of a file; None if it is missing or no file."""
    try:
        return path.stat() if path.is_file() else None
    except OSError:
        return None
