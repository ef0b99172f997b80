"""Reads a data set once: writes the index of its rows and the report of the check."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

from turnwise.app.datasets.row_file import RowFile, RowWriter
from turnwise.core.errors import InvalidData
from turnwise.core.files import atomic_directory
from turnwise.data.check import DataChecker
from turnwise.data.jsonl_writer import to_json_line
from turnwise.data.rows import Record
from turnwise.data.sources import DataSource, RejectedRow, RowLocation

REPORT_NAME = "report.json"
MAX_BAD_ROWS = 1000  # at the start of a file that is accepted
FLUSH_ROWS = 32
MAX_TRIES = 20
REOPEN_SECONDS = 0.001  # between attempts to open rows whose folder is being renamed


class ScanStopped(Exception):
    """The data set was deleted, or the server stops."""


@dataclass
class Scan:
    """The state of reading a data set, for other threads.

    Attributes:
        num_rows: rows that can be read.
        share: share of the file that has been read.
        folder: where the rows are now; None before the first row.
        error: why the file cannot be read; empty if it can.
        is_stopped: set to True to end it.
        is_finished: True when its thread has ended.
        finished: when it has ended, by the monotonic clock.
    """

    num_rows: int = 0
    share: float = 0.0
    folder: Path | None = None
    error: str = ""
    is_stopped: bool = False
    is_finished: bool = False
    finished: float = 0.0

    def rows(self) -> RowFile | None:
        """Open the rows that can be read so far; None if there are none. Raises `FileNotFoundError` if deleted."""
        for _ in range(MAX_TRIES):
            num_rows, folder = self.num_rows, self.folder
            if folder is None:
                return None
            try:
                return RowFile(folder, num_rows)
            except FileNotFoundError:
                time.sleep(REOPEN_SECONDS)
        raise FileNotFoundError(folder)


def scan_dataset(file: Path, folder: Path, scan: Scan) -> None:
    """Read `file` and write rows and report to `folder`, which exists only when both are complete.

    Raises:
        InvalidData: the file cannot be read.
        SaveFailed: the disk is full.
        ScanStopped: `scan.is_stopped` was set.
    """
    checker = DataChecker()
    source = DataSource(file, skip_bad_rows=True)
    size = max(1, source.size)
    with atomic_directory(folder) as temporary:
        with RowWriter(temporary) as writer:
            for index, result in enumerate(source.results()):
                _add(result, index, checker, writer)
                if index % FLUSH_ROWS == 0:
                    _publish(scan, writer, temporary, index + 1, source.position / size)
        checker.unread_columns += source.unread_columns
        report = {**checker.report([file.name], []).as_dict(), "files": [file.name]}
        for finding in report["findings"]:
            del finding["locations"]  # `rows` has them as numbers
        (temporary / REPORT_NAME).write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")
        scan.num_rows, scan.share = report["rows"], 1.0
    scan.folder = folder


def _add(result: tuple[RowLocation, Record] | RejectedRow, index: int, checker: DataChecker, writer: RowWriter) -> None:
    """Add a row. The checker gets its index as its number, so that findings refer to indexes."""
    if isinstance(result, RejectedRow):
        checker.add_bad_rows([replace(result, location=replace(result.location, number=index))], 1)
        writer.add_problem(result.location.number, f"{result.reason}. Expected {result.expected}.")
        return
    location, item = result
    checker.add(item, replace(location, number=index))
    writer.add(location.number, to_json_line(item))


def _publish(scan: Scan, writer: RowWriter, folder: Path, num_rows: int, share: float) -> None:
    if scan.is_stopped:
        raise ScanStopped
    writer.flush()
    scan.num_rows, scan.share, scan.folder = num_rows, min(1.0, share), folder


def check_readable(path: Path) -> None:
    """Raise `InvalidData` if the file has no row that can be read; the message names the file, not the folder."""
    try:
        first_problem = None
        for number, result in enumerate(DataSource(path, skip_bad_rows=True).results()):
            if not isinstance(result, RejectedRow):
                return
            first_problem = first_problem or result
            if number == MAX_BAD_ROWS:
                break
        raise InvalidData(f"{path}: the file has no rows." if first_problem is None else str(first_problem))
    except InvalidData as error:
        raise InvalidData(str(error).replace(str(path), path.name)) from error
