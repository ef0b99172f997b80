"""Data files and folders as streams of conversations and documents.

::

    for item in read_source("chats.jsonl"):               # raises InvalidData at the first bad row
        ...
    source = Source("chats.csv.gz", skip_bad=True)    # skips and counts bad rows
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
MAX_RECORDED_BAD_ROWS = 1000  # per pass; further ones are only counted


@dataclass(frozen=True, slots=True)
class RowLocation:
    """Location of a row: file and number. `unit` is what the number counts, "line" or "row"."""

    file: Path
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A bad row with its location, the reason and the expected form."""

    place: RowLocation
    reason: str
    expected: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}. Expected {self.expected}."


class DataSource:
    """A data file, or all data files of a folder in name order. It can be iterated repeatedly.

    Args:
        path: a file, possibly compressed, or a folder; subfolders are ignored. A `dataset_info.json` (LLaMA-Factory)
            in the folder selects the files and their options. Chats without a message of the person `options.me` are
            skipped, unless there are no others.
        format: format name; default: detected for each file from its name and first bytes.
        side: split of a folder with splits (`data/split_folders.py`); only its files are read.
        skip_bad: skip bad rows; `bad_count` counts them and `bad` records the first thousand. Otherwise the first bad
            row raises `InvalidData`.
        options: encoding, columns and speakers; its `format` is overridden by `format`.

    After a pass, `unread` counts the columns and keys with text that no parser used.

    Raises `InvalidData` on construction if the file or format does not exist.
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
        """Size of all files on disk in bytes."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def position(self) -> int:
        """Number of these bytes read so far."""
        opened = self._open_file
        return self._bytes_before + (opened.tell() if opened and not opened.closed else 0)

    def check_not_source(self, out: Path) -> None:
        """Raise `InvalidData` if `out` is one of the files."""
        if out.resolve() in [file.resolve() for file in self.files]:
            raise InvalidData(f"{out} is one of the input files. Choose another output file.")

    def __iter__(self) -> Iterator[Record]:
        for _, item in self.rows():
            yield item

    def rows(self) -> Iterator[tuple[RowLocation, Record]]:
        """Yield every good row with its location."""
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
            raise InvalidData(f"{bad} Use --skip-bad-rows to leave such rows out.")
        self.bad_count += 1
        if len(self.bad) < MAX_RECORDED_BAD_ROWS:
            self.bad.append(bad)


def read_source(
    path: str | Path, *, format: str | None = None, skip_bad: bool = False, options: ReadOptions | None = None
) -> Iterator[Record]:
    """Yield the conversations and documents of a file or folder; see `DataSource` for the arguments.

    Raises `InvalidData` with file and line at the first bad row, unless `skip_bad` is set.
    """
    return iter(DataSource(path, format=format, skip_bad=skip_bad, options=options))


def find_split_files(path: Path) -> dict[SplitName, list[Path]]:
    """Return the files of each split of a folder; {} without splits. Raises `InvalidData` if they are ambiguous."""
    return group_split_files(path, _is_data)


def held_out_split(path: Path) -> SplitName | None:
    """Return the split to evaluate on: test, else valid; None without splits."""
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
    """Open a file. Raises `InvalidData` with its name if it holds no data or its format is unknown."""
    try:
        return open_rows(path, raw, options, context)
    except (InvalidData, UnreadableFile) as error:
        raise InvalidData(f"{path}: {error}") from error


def _until_damage(rows: Iterator[RowResult]) -> Iterator[RowResult]:
    """Yield the rows up to damage in a compressed file, then a bad row for the damage."""
    line = 0
    try:
        for row in rows:
            line = row.line if isinstance(row, BadRow) else row[0]
            yield row
    except DamagedFile as error:
        yield BadRow(line + 1, f"the compressed file is damaged or cut off here ({error})")
