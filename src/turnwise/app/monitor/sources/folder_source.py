"""A folder of files with lines: new files, and lines that are added to files, are read in the order of the names."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from turnwise.app.monitor.sources.file_lines import (
    FileLines,
    FilePosition,
    check_position,
    is_same_file,
    read_lines,
    start_of_file,
)
from turnwise.app.monitor.sources.file_source import texts_of_lines
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.core.stream_texts import Position, SourceBatch, StreamText

SUFFIXES = (".jsonl", ".ndjson", ".txt", ".log")
COMPLETE_SECONDS = 5.0  # a last line without a line break is complete if its file has not changed for so long
MAX_MISSING_FILES = 10_000  # files whose positions are remembered after they were deleted


class FolderSource:
    """Reads the files of a folder, without its subfolders and hidden files.

    A file that was replaced is read from its beginning, and a renamed file continues. The position has an entry for
    every file by its number in the file system, also for deleted ones: a new file can get the number again.

    A last line without a line break is read when its file has not changed for 5 seconds, unless it begins a JSON object
    that is not complete.

    Args:
        folder: the folder. A missing folder is waited for.
        records: makes texts of lines.
        name: name of the source.
        clock: returns Unix seconds.
    """

    def __init__(self, folder: Path, records: TextRecords, name: str, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self._folder, self._records, self._clock = folder, records, clock
        self._completed: dict[int, tuple[int, int]] = {}  # size and time of change of files that were read to the end

    def read(self, position: Position | None, limit: int) -> SourceBatch:
        """Return up to `limit` texts that can be read now."""
        if position:
            check_position(position, "files")
        previous: Mapping[str, Mapping[str, Any]] = (position or {}).get("files", {})
        try:
            paths = sorted(
                path for path in self._folder.iterdir()
                if path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()
            )  # fmt: skip
        except FileNotFoundError:
            return SourceBatch((), {"files": previous})
        except OSError as error:
            return SourceBatch((), {"files": previous}, error=error.strerror or str(error))
        files: dict[str, Any] = dict(previous)
        texts: list[StreamText] = []
        num_malformed, has_more, failure = 0, False, ""
        for path in paths:
            if has_more := len(texts) + num_malformed >= limit:
                break
            try:
                lines = self._read_file(path, files, limit - len(texts) - num_malformed)
            except FileNotFoundError:
                continue
            except OSError as error:
                failure = failure or f"{path.name}: {error.strerror or error}"
                continue
            if lines is None:
                continue
            origin = f"{self.name}\n{lines.position.inode}\n{lines.position.generation}"
            added, malformed = texts_of_lines(lines, self._records, origin)
            files[str(lines.position.inode)] = lines.position.to_json()
            texts += added
            num_malformed += malformed
            has_more = lines.has_more
            if has_more:
                break
        return SourceBatch(
            tuple(texts), {"files": _remembered(files, paths)}, has_more, num_malformed=num_malformed, error=failure
        )

    def confirm(self, position: Position) -> None:
        """Do nothing: files keep their lines."""

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _read_file(self, path: Path, files: Mapping[str, Mapping[str, Any]], limit: int) -> FileLines | None:
        """New lines of a file; None if it has not changed since its last line was read."""
        status = path.stat()
        stored = files.get(str(status.st_ino))
        version = status.st_size, status.st_mtime_ns
        if stored is not None and self._completed.get(status.st_ino) == version and stored["offset"] == version[0]:
            return None
        position = None if stored is None else FilePosition.from_json(stored)
        is_old = self._clock() - status.st_mtime > COMPLETE_SECONDS
        with path.open("rb") as file:
            if position is None or not is_same_file(file, position):
                position = start_of_file(file, position)
            lines = read_lines(file, position, limit, accept_partial=lambda line: is_old and _is_complete(line))
        if not lines.has_more:
            self._completed[status.st_ino] = version
        return lines


def _is_complete(line: bytes) -> bool:
    """False for the beginning of a JSON object."""
    content = line.decode("utf-8", "replace").strip().removeprefix("\ufeff")
    if not content.startswith("{"):
        return True
    try:
        json.loads(content)
    except ValueError:
        return False
    except RecursionError:  # it holds no text
        return True
    return True


def _remembered(files: dict[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """The positions of the files in the folder, and of the last ones that are missing."""
    if len(files) <= len(paths) + MAX_MISSING_FILES:
        return files
    present = set()
    for path in paths:
        with suppress(OSError):
            present.add(str(path.stat().st_ino))
    missing = [inode for inode in files if inode not in present]
    forgotten = set(missing[: len(missing) - MAX_MISSING_FILES])
    return {inode: position for inode, position in files.items() if inode not in forgotten}
