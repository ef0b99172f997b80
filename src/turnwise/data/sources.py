"""Reads data files and folders as a stream of conversations and documents.

::

    for item in read_source("chats.jsonl"):           # raises InvalidData at the first bad row
        ...
    source = Source("chats.csv.gz", skip_bad=True)    # leaves bad rows out and counts them
    items = list(source)
    print(source.bad_count, source.bad)
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data import dataset_info
from turnwise.data.compression import DamagedFile, without_suffix
from turnwise.data.encoding import check_encoding
from turnwise.data.open_rows import OpenRows, check_format, open_rows
from turnwise.data.parse_context import ParseContext
from turnwise.data.read_options import ReadOptions
from turnwise.data.rows import BadRow, Document, Record, RowResult, SpeakerAbsent, UnreadableFile
from turnwise.data.split_folders import SplitName, group_split_files

__all__ = [
    "Conversation",
    "DataSource",
    "Document",
    "ReadOptions",
    "Record",
    "RejectedRow",
    "RowLocation",
    "find_split_files",
    "held_out_split",
    "read_source",
]

DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt")
HELD_OUT_SPLITS: tuple[SplitName, ...] = ("test", "valid")
NOT_DATA = ("split.json", "readme.txt", "license.txt", "state.json", dataset_info.NAME)
MAX_RECORDED_BAD_ROWS = 1000  # further ones are only counted


@dataclass(frozen=True, slots=True)
class RowLocation:
    """Where a row stands. `unit` is what its number counts: lines, or rows of a table."""

    file: Path
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A bad row, where it stands, and what was expected of it."""

    place: RowLocation
    reason: str
    expected: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}. Expected {self.expected}."


class DataSource:
    """A data file, or all data files of a folder in the order of their names. It can be gone through many times.

    Args:
        path: a file (also compressed) or a folder; a folder's own folders are not entered. A `dataset_info.json` in it
            (LLaMA-Factory) says which files are read and how. Chats in which the person that `options.me` names says
            nothing are left out, unless there are no others.
        format: a format's name; unset: recognised for each file from its name and beginning.
        side: of a folder with sides (`data/split_folders.py`): its files alone.
        skip_bad: leave bad rows out; `bad_count` counts them and `bad` keeps the first thousand. Without it the first
            bad row raises `InvalidData`.
        options: encoding, columns and speakers; its `format` is overridden by `format`.

    `unread` counts, after a pass, the columns and keys that hold text and were not used, by their names.

    Raises `InvalidData` at once when there is no such file or format.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        skip_bad: bool = False,
        side: SplitName | None = None,
        options: ReadOptions | None = None,
    ) -> None:
        self.path = Path(path)
        self.skip_bad = skip_bad
        self.bad: list[RejectedRow] = []
        self.bad_count = 0
        self.unread: Counter[str] = Counter()
        self.options = options or ReadOptions()
        if format:
            self.options = replace(self.options, format=format)
        if self.options.format:
            check_format(self.options.format)
        if self.options.encoding:
            check_encoding(self.options.encoding)
        self.files = _data_files(self.path) if side is None else _side_files(self.path, side)
        self._described = dataset_info.read(self.path, self.options) if self.path.is_dir() else {}
        if self._described:
            self.files = [file for file in self.files if file.name in self._described] or self.files
        self._open_file: BinaryIO | None = None
        self._bytes_before = 0

    @property
    def size(self) -> int:
        """Bytes of all files as they lie on disk."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def position(self) -> int:
        """How many of these bytes have been read."""
        opened = self._open_file
        return self._bytes_before + (opened.tell() if opened and not opened.closed else 0)

    def check_not_source(self, out: Path) -> None:
        """Raise `InvalidData` where `out` is one of the files."""
        if out.resolve() in [file.resolve() for file in self.files]:
            raise InvalidData(f"{out} is also what is read. Name another file.")

    def __iter__(self) -> Iterator[Record]:
        for _, item in self.rows():
            yield item

    def rows(self) -> Iterator[tuple[RowLocation, Record]]:
        """Every good row with the place where it stands."""
        self.bad, self.bad_count, self._bytes_before = [], 0, 0
        self.unread = Counter()
        absent: list[SpeakerAbsent] = []
        for file in self.files:
            try:
                yield from self._rows_of(file)
            except SpeakerAbsent as error:  # days and channels of an export on which the person said nothing
                absent.append(error)
            self._bytes_before += file.stat().st_size
        if absent and len(absent) == len(self.files):
            raise InvalidData(f"{self.files[0]}: {absent[0]}") from absent[0]

    def _rows_of(self, path: Path) -> Iterator[tuple[RowLocation, Record]]:
        options = self._described.get(path.name, self.options)
        context = ParseContext(options.role_of_speaker, options.me, self.unread)
        expected = ""
        try:
            with path.open("rb") as raw:
                self._open_file = raw
                opened = _opened(path, raw, options, context)
                expected = f" Expected {opened.expected}."
                for row in _until_damage(opened.rows):
                    if isinstance(row, BadRow):
                        self._refuse(RejectedRow(RowLocation(path, row.line, opened.unit), row.reason, opened.expected))
                    else:
                        yield RowLocation(path, row[0], opened.unit), row[1]
        except SpeakerAbsent:
            raise
        except UnreadableFile as error:
            raise InvalidData(f"{path}: {error}{expected}") from error
        except OSError as error:
            raise InvalidData(f"Could not read {path}: {error.strerror or error}.") from error

    def _refuse(self, bad: RejectedRow) -> None:
        if not self.skip_bad:
            raise InvalidData(f"{bad} Use --skip-bad to leave such rows out.")
        self.bad_count += 1
        if len(self.bad) < MAX_RECORDED_BAD_ROWS:
            self.bad.append(bad)


def read_source(
    path: str | Path, *, format: str | None = None, skip_bad: bool = False, options: ReadOptions | None = None
) -> Iterator[Record]:
    """The conversations and documents in a file or folder, one at a time; see `Source` for all of it.

    Raises `InvalidData` naming file and line at the first bad row, unless `skip_bad`.
    """
    return iter(DataSource(path, format=format, skip_bad=skip_bad, options=options))


def find_split_files(path: Path) -> dict[SplitName, list[Path]]:
    """The files of each side of a folder; {} where it has none. Raises `InvalidData` where that is not clear."""
    return group_split_files(path, _is_data)


def held_out_split(path: Path) -> SplitName | None:
    """The side of a folder that a model is measured on: test, or else valid; None where it has no sides."""
    found = find_split_files(path)
    return next((side for side in HELD_OUT_SPLITS if side in found), None)


def _side_files(path: Path, side: SplitName) -> list[Path]:
    found = find_split_files(path)
    if side not in found:
        there = f"has no side '{side}', only {', '.join(sorted(found))}" if found else "has no sides"
        raise InvalidData(f"{path} {there}. Name a file or another folder.")
    return found[side]


def _data_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidData(f"There is no file or folder {path}.")
    files = [file for file in sorted(path.iterdir()) if file.is_file() and _is_data(file.name.lower())]
    if not files:
        raise InvalidData(f"The folder {path} holds no data files (names that end in {', '.join(DATA_SUFFIXES)}).")
    return files


def _is_data(name: str) -> bool:
    name = without_suffix(name)
    return name.endswith(DATA_SUFFIXES) and name not in NOT_DATA and not name.startswith(".")


def _opened(path: Path, raw: BinaryIO, options: ReadOptions, context: ParseContext) -> OpenRows:
    """The layers of a file. Raises `InvalidData` naming the file where it is no data or in no known format."""
    try:
        return open_rows(path, raw, options, context)
    except (InvalidData, UnreadableFile) as error:
        raise InvalidData(f"{path}: {error}") from error


def _until_damage(rows: Iterator[RowResult]) -> Iterator[RowResult]:
    """The rows before the place where the compression breaks off, and a bad row for that place."""
    line = 0
    try:
        for row in rows:
            line = row.line if isinstance(row, BadRow) else row[0]
            yield row
    except DamagedFile as error:
        yield BadRow(line + 1, f"the compressed file is damaged or cut off here ({error})")
