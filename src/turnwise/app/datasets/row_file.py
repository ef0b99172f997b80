"""The rows of a data set as JSON Lines beside an index of their positions, so that any row is read at once.

`rows.jsonl` has one object per row: `{"line": 3, "row": {…}}`, or `{"line": 3, "problem": "…"}`. `row_ends` has the
position of each row's end as an unsigned integer of eight bytes.
"""

import json
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from turnwise.core.datasets import DatasetRow

ROWS_NAME, ENDS_NAME = "rows.jsonl", "row_ends"
MAX_PAGE_BYTES = 4 * 2**20  # of a page with more than one row
MAX_ROW_BYTES = 2**20  # larger rows are not shown
_END = struct.Struct("<Q")


class RowWriter:
    """Writes the rows of a data set. Rows that were written before a `flush` can be read."""

    def __init__(self, folder: Path) -> None:
        self._rows = (folder / ROWS_NAME).open("wb")
        self._ends = (folder / ENDS_NAME).open("wb")
        self._position = 0

    def add(self, line: int, row_json: str) -> None:
        """Add a row that is a JSON object."""
        self._write(f'{{"line": {line}, "row": {row_json.rstrip()}}}\n')

    def add_problem(self, line: int, problem: str) -> None:
        """Add a row that cannot be read."""
        self._write(json.dumps({"line": line, "problem": problem}, ensure_ascii=False) + "\n")

    def _write(self, text: str) -> None:
        self._position += self._rows.write(text.encode("utf-8", "replace"))
        self._ends.write(_END.pack(self._position))

    def flush(self) -> None:
        """Pass all rows to the system, so that other handles read them."""
        self._rows.flush()
        self._ends.flush()

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._rows.close()
        self._ends.close()


class RowFile:
    """Reads rows that a `RowWriter` has written. A context manager that closes its files.

    Args:
        folder: folder of the two files. It may be renamed or deleted while they are open.
        num_rows: number of rows that can be read. Default: all.
    """

    def __init__(self, folder: Path, num_rows: int | None = None) -> None:
        self._rows = (folder / ROWS_NAME).open("rb")
        try:
            self._ends = (folder / ENDS_NAME).open("rb")
        except OSError:
            self._rows.close()
            raise
        self.num_rows = os.fstat(self._ends.fileno()).st_size // _END.size if num_rows is None else num_rows

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._rows.close()
        self._ends.close()

    def read(self, start: int, limit: int) -> list[DatasetRow]:
        """Up to `limit` rows from `start` on: fewer at the end, and if they have more than `MAX_PAGE_BYTES`."""
        stop = min(start + limit, self.num_rows)
        if start >= stop:
            return []
        position, *ends = self._positions(start, stop)
        page_start = position
        rows: list[DatasetRow] = []
        for index, end in enumerate(ends, start):
            if rows and end - page_start > MAX_PAGE_BYTES:
                break
            self._rows.seek(position)
            num_bytes, position = end - position, end
            rows.append(parse_row(index, self._rows.read(min(num_bytes, MAX_ROW_BYTES + 1)), num_bytes))
        return rows

    def read_some(self, indexes: Sequence[int]) -> list[DatasetRow]:
        """The rows with these indexes: fewer if they have more than `MAX_PAGE_BYTES`."""
        rows: list[DatasetRow] = []
        num_bytes = 0
        for index in indexes:
            start, end = self._positions(index, index + 1)
            num_bytes += end - start
            if rows and num_bytes > MAX_PAGE_BYTES:
                break
            rows += self.read(index, 1)
        return rows

    def lines(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Yield the index and the JSON of every row from `start` on. A row that is too large to be shown is empty."""
        if start >= self.num_rows:
            return
        self._rows.seek(self._positions(start, start + 1)[0])
        for index in range(start, self.num_rows):
            line = self._rows.readline(MAX_ROW_BYTES + 1)
            is_large = not line.endswith(b"\n")
            while line and not line.endswith(b"\n"):
                line = self._rows.readline(MAX_ROW_BYTES)
            yield index, b"" if is_large else line

    def _positions(self, start: int, stop: int) -> list[int]:
        """Where the row `start` begins, and where the rows up to `stop` end."""
        first = max(0, start - 1)
        self._ends.seek(first * _END.size)
        ends = [end for (end,) in _END.iter_unpack(self._ends.read((stop - first) * _END.size))]
        return ends if start else [0, *ends]


def parse_row(index: int, line: bytes, num_bytes: int) -> DatasetRow:
    """The row in a line; `line` may be its start if it is too large to be shown."""
    if num_bytes > MAX_ROW_BYTES + 1:
        number = int(line.partition(b",")[0].partition(b":")[2])
        problem = f"The row has {num_bytes:,} bytes; rows of up to {MAX_ROW_BYTES:,} bytes are shown."
        return DatasetRow(index, number, problem=problem)
    parsed = json.loads(line)
    return DatasetRow(index, parsed["line"], parsed.get("row", {}), parsed.get("problem", ""))
