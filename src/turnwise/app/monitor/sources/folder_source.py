"""A folder of files with lines: new files, and lines that are added to files, are read in the order of the names."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turnwise.app.monitor.sources.file_lines import FilePosition, is_same_file, read_lines, start_of_file
from turnwise.app.monitor.sources.file_source import texts_of_lines
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.core.errors import InvalidData
from turnwise.core.stream_texts import Position, SourceBatch, StreamText

SUFFIXES = (".jsonl", ".ndjson", ".txt", ".log")
COMPLETE_SECONDS = 5.0  # a last line without a line break is complete if its file has not changed for so long


class FolderSource:
    """Reads the files of a folder, without its subfolders and hidden files.

    A file that was replaced is read from its beginning. The position has an entry for every file in the folder.

    Args:
        folder: the folder. A missing folder is waited for.
        records: makes texts of lines.
        name: name of the source.
        clock: returns Unix seconds.
    """

    def __init__(self, folder: Path, records: TextRecords, name: str, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self._folder, self._records, self._clock = folder, records, clock

    def read(self, position: Position | None, limit: int) -> SourceBatch:
        """Return up to `limit` texts that can be read now."""
        previous: dict[str, Any] = dict(position or {}).get("files", {})
        try:
            paths = sorted(
                path for path in self._folder.iterdir()
                if path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()
            )  # fmt: skip
        except FileNotFoundError:
            return SourceBatch((), {"files": previous})
        except OSError as error:
            raise InvalidData(f"Could not read the folder {self._folder}: {error.strerror or error}.") from error
        files = {path.name: previous[path.name] for path in paths if path.name in previous}
        texts: list[StreamText] = []
        num_malformed, has_more = 0, False
        for path in paths:
            if has_more := len(texts) + num_malformed >= limit:
                break
            try:
                added, malformed, files[path.name], has_more = self._read_file(
                    path, files.get(path.name), limit - len(texts) - num_malformed
                )
            except FileNotFoundError:
                files.pop(path.name, None)
                continue
            except OSError as error:
                raise InvalidData(f"Could not read {path}: {error.strerror or error}.") from error
            texts += added
            num_malformed += malformed
            if has_more:
                break
        return SourceBatch(tuple(texts), {"files": files}, has_more, num_malformed=num_malformed)

    def confirm(self, position: Position) -> None:
        """Do nothing: files keep their lines."""

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _read_file(
        self, path: Path, stored: dict[str, Any] | None, limit: int
    ) -> tuple[tuple[StreamText, ...], int, dict[str, Any], bool]:
        position = None if stored is None else FilePosition.from_json(stored)
        is_complete = self._clock() - path.stat().st_mtime > COMPLETE_SECONDS
        with path.open("rb") as file:
            if position is None or not is_same_file(file, position):
                position = start_of_file(file, position)
            lines = read_lines(file, position, limit, accept_partial=is_complete)
        origin = f"{self.name}\n{path.name}\n{position.generation}"
        texts, num_malformed = texts_of_lines(lines, self._records, origin)
        return texts, num_malformed, lines.position.to_json(), lines.has_more
