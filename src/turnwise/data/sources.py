"""Data files and folders as streams of conversations and documents.

::

    for item in read_source("chats.jsonl"):               # raises InvalidData at the first bad row
        ...
    source = DataSource("chats.csv.gz", skip_bad_rows=True)    # skips and counts bad rows
    items = list(source)
    print(source.bad_row_count, source.bad_rows)
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from turnwise.core.errors import InvalidData
from turnwise.data.compression import DamagedFile
from turnwise.data.data_files import list_data_files, list_split_files
from turnwise.data.dataset_info import read_dataset_info
from turnwise.data.open_rows import OpenRows, check_format, open_rows
from turnwise.data.parse_context import ParseContext
from turnwise.data.read_options import ReadOptions
from turnwise.data.rows import BadRow, Record, RowResult, SpeakerNotFound, UnreadableFile
from turnwise.data.split_folders import SplitName
from turnwise.data.text_encoding import check_encoding

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

    location: RowLocation
    reason: str
    expected: str

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}. Expected {self.expected}."


class DataSource:
    """A data file, or all data files of a folder in name order. It can be iterated repeatedly.

    Args:
        path: a file, possibly compressed, or a folder; subfolders are ignored. A `dataset_info.json` (LLaMA-Factory)
            in the folder selects the files and their options. Chats without a message of the person
            `options.assistant_name` are skipped, unless there are no others.
        format: format name; default: detected for each file from its name and first bytes.
        split: split of a folder with splits (`data/split_folders.py`); only its files are read.
        skip_bad_rows: skip bad rows; `bad_row_count` counts them and `bad_rows` records the first thousand. Otherwise
            the first bad row raises `InvalidData`.
        options: encoding, columns and speakers; its `format` is overridden by `format`.

    After a pass, `unread_columns` counts the rows by column or key with text that no parser used.

    Raises `InvalidData` on construction if the file or format does not exist.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        skip_bad_rows: bool = False,
        split: SplitName | None = None,
        options: ReadOptions | None = None,
    ) -> None:
        self.path = Path(path)
        self.skip_bad_rows = skip_bad_rows
        self.bad_rows: list[RejectedRow] = []
        self.bad_row_count = 0
        self.unread_columns: Counter[str] = Counter()
        self.options = options or ReadOptions()
        if format:
            self.options = replace(self.options, format=format)
        if self.options.format:
            check_format(self.options.format)
        if self.options.encoding:
            check_encoding(self.options.encoding)
        self.files = list_data_files(self.path) if split is None else list_split_files(self.path, split)
        self._options_of_file = read_dataset_info(self.path, self.options) if self.path.is_dir() else {}
        if self._options_of_file:
            self.files = [file for file in self.files if file.name in self._options_of_file] or self.files
        self._open_file: BinaryIO | None = None
        self._finished_bytes = 0

    @property
    def size(self) -> int:
        """Size of all files on disk in bytes."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def position(self) -> int:
        """Number of these bytes read so far."""
        file = self._open_file
        return self._finished_bytes + (file.tell() if file and not file.closed else 0)

    def check_not_source(self, out: Path) -> None:
        """Raise `InvalidData` if `out` is one of the files."""
        if out.resolve() in [file.resolve() for file in self.files]:
            raise InvalidData(f"{out} is one of the input files. Choose another output file.")

    def __iter__(self) -> Iterator[Record]:
        for _, item in self.rows():
            yield item

    def rows(self) -> Iterator[tuple[RowLocation, Record]]:
        """Yield every good row with its location."""
        for result in self.results():
            if isinstance(result, RejectedRow):
                self._reject(result)
            else:
                yield result

    def results(self) -> Iterator[tuple[RowLocation, Record] | RejectedRow]:
        """Yield every row in order, the bad ones too. They are neither counted nor recorded."""
        self.bad_rows, self.bad_row_count, self._finished_bytes = [], 0, 0
        self.unread_columns = Counter()
        chats_without_assistant: list[SpeakerNotFound] = []
        for file in self.files:
            try:
                yield from self._results_of(file)
            except SpeakerNotFound as error:  # a day or channel without a message of the assistant
                chats_without_assistant.append(error)
            self._finished_bytes += file.stat().st_size
        if chats_without_assistant and len(chats_without_assistant) == len(self.files):
            raise InvalidData(f"{self.files[0]}: {chats_without_assistant[0]}") from chats_without_assistant[0]

    def _results_of(self, path: Path) -> Iterator[tuple[RowLocation, Record] | RejectedRow]:
        options = self._options_of_file.get(path.name, self.options)
        context = ParseContext(options.role_of_speaker, options.assistant_name, self.unread_columns)
        expected = ""
        try:
            with path.open("rb") as raw:
                self._open_file = raw
                opened = _open_rows_of(path, raw, options, context)
                expected = f" Expected {opened.expected}."
                for row in _until_damage(opened.rows):
                    if isinstance(row, BadRow):
                        yield RejectedRow(RowLocation(path, row.line, opened.unit), row.reason, opened.expected)
                    else:
                        yield RowLocation(path, row[0], opened.unit), row[1]
        except SpeakerNotFound:
            raise
        except UnreadableFile as error:
            raise InvalidData(f"{path}: {error}{expected}") from error
        except OSError as error:
            raise InvalidData(f"Could not read {path}: {error.strerror or error}.") from error

    def _reject(self, row: RejectedRow) -> None:
        if not self.skip_bad_rows:
            raise InvalidData(f"{row} Use --skip-bad-rows to skip such rows.")
        self.bad_row_count += 1
        if len(self.bad_rows) < MAX_RECORDED_BAD_ROWS:
            self.bad_rows.append(row)


def read_source(
    path: str | Path, *, format: str | None = None, skip_bad_rows: bool = False, options: ReadOptions | None = None
) -> Iterator[Record]:
    """Yield the conversations and documents of a file or folder; see `DataSource` for the arguments.

    Raises `InvalidData` with file and line at the first bad row, unless `skip_bad_rows` is set.
    """
    return iter(DataSource(path, format=format, skip_bad_rows=skip_bad_rows, options=options))


def _open_rows_of(path: Path, raw: BinaryIO, options: ReadOptions, context: ParseContext) -> OpenRows:
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
