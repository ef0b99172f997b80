"""A file that grows: it is followed through rotation (renamed and created again) and truncation, like `tail -F`."""

from pathlib import Path

from turnwise.app.monitor.sources.file_lines import (
    FileLines,
    FilePosition,
    find_by_inode,
    is_same_file,
    next_rotated,
    read_lines,
    start_of_file,
)
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.core.errors import InvalidData
from turnwise.core.stream_texts import Position, SourceBatch, StreamText


class FileSource:
    """Follows a file of lines.

    A renamed file is read to its end, also after a restart, as long as its name still begins with the old one; then the
    files that were renamed after it, by their times of change, and then the new file from its beginning. A file that
    became shorter, or whose bytes before the offset changed, is read from its beginning. A last line without a line
    break waits for it. A missing file is waited for.

    Args:
        path: the file.
        records: makes texts of lines.
        name: name of the source.
        is_complete: nothing will be added: the last line needs no line break, and a missing file is an error.

    Raises:
        InvalidData: the file is missing although it is complete.
    """

    def __init__(self, path: Path, records: TextRecords, name: str, *, is_complete: bool = False) -> None:
        self.name = name
        self._path, self._records, self._is_complete = path, records, is_complete
        if is_complete and not path.is_file():
            raise InvalidData(f"There is no file {path}.")

    def read(self, position: Position | None, limit: int) -> SourceBatch:
        """Return up to `limit` texts that can be read now."""
        try:
            return self._read(None if position is None else FilePosition.from_json(position), limit)
        except FileNotFoundError:
            return SourceBatch((), position or {})
        except OSError as error:
            reason = error.strerror or str(error)
            if self._is_complete:
                raise InvalidData(f"Could not read {self._path}: {reason}.") from error
            return SourceBatch((), position or {}, error=reason)

    def confirm(self, position: Position) -> None:
        """Do nothing: a file keeps its lines."""

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _read(self, position: FilePosition | None, limit: int) -> SourceBatch:
        if position is not None:
            old = find_by_inode(self._path, position.inode)
            if old is not None and old != self._path:
                with old.open("rb") as file:
                    if is_same_file(file, position):
                        lines = read_lines(file, position, limit, accept_partial=lambda _: self._path.exists())
                        if lines.lines or lines.has_more:
                            return self._batch(lines, has_more=True)
                rotated = next_rotated(self._path, old)
                if rotated is not None:
                    with rotated.open("rb") as file:
                        start = start_of_file(file, position)
                        return self._batch(read_lines(file, start, limit, accept_partial=lambda _: True), has_more=True)
        with self._path.open("rb") as file:
            if position is None or not is_same_file(file, position):
                position = start_of_file(file, position)
            return self._batch(read_lines(file, position, limit, accept_partial=lambda _: self._is_complete))

    def _batch(self, lines: FileLines, *, has_more: bool = False) -> SourceBatch:
        origin = f"{self.name}\n{lines.position.generation}"
        texts, num_malformed = texts_of_lines(lines, self._records, origin)
        has_more = has_more or lines.has_more
        is_finished = self._is_complete and not has_more
        return SourceBatch(texts, lines.position.to_json(), has_more, is_finished, num_malformed)


def texts_of_lines(lines: FileLines, records: TextRecords, origin: str) -> tuple[tuple[StreamText, ...], int]:
    """The texts of lines, and the number of lines that hold none. Blank lines are skipped.

    Args:
        lines: the lines.
        records: makes texts of them.
        origin: names the file, for ids of texts without an id.
    """
    texts: list[StreamText] = []
    num_malformed = 0
    for offset, line in lines.lines:
        if line is not None and not line.strip():
            continue
        text = None if line is None else records.parse_line(line, f"{origin}\n{offset}")
        if text is None:
            num_malformed += 1
        else:
            texts.append(text)
    return tuple(texts), num_malformed
