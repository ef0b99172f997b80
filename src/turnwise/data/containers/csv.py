"""CSV and TSV: a header row, then a row of cells per line."""

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from turnwise.data import columns
from turnwise.data.containers import RenameColumns
from turnwise.data.formats import long_form, row_confidence
from turnwise.data.lines import numbered_lines
from turnwise.data.rows import BadRow, FileSample, NumberedLine, NumberedValue, UnreadableFile
from turnwise.data.table_cells import decode_cells

UNIT = "line"
DELIMITERS = ",\t;|"
MAX_CELL_CHARACTERS = 2**20
MAX_HEADER_LINES = 100
_ESCAPED_QUOTE = re.compile(r'(\\+)"')


def sniff(sample: FileSample) -> float:
    """High for a header with known columns, medium for a file name that ends in .csv or .tsv."""
    if "\0" in sample.text:
        return 0.0
    confidence = 0.5 if sample.suffix in (".csv", ".tsv", ".tab") else 0.0
    if not confidence and sample.text.lstrip().startswith(("{", "[")):
        return 0.0
    header = _header(sample.text, _detect_dialect(sample, list))
    # Prose and transcripts have commas, too, but not several known column names in the first line.
    return 0.9 if len(header) > 1 and _has_known_columns(header) else confidence


def values(file: BinaryIO, sample: FileSample, rename_columns: RenameColumns) -> Iterator[NumberedValue]:
    """Yield each row as an object with the column names as keys. Raises `UnreadableFile` without a usable header."""
    dialect = _detect_dialect(sample, rename_columns)
    header = _header(sample.text, dialect)
    if not any(header):
        raise UnreadableFile("It has no header row.")
    names = [name for name in header if name]
    if len(set(names)) < len(names):
        raise UnreadableFile(f"Two of its columns have the same name: {', '.join(names)}.")
    return _rows(file, header, dialect, has_escapes=_has_backslash_escapes(sample, header, dialect))


def _has_known_columns(header: list[str]) -> bool:
    row = dict.fromkeys(header, "x")
    return (
        columns.is_pair(header)
        or long_form.message_columns(header) is not None
        or row_confidence(row) >= 0.5
        or "messages" in row
    )


def _declared_delimiter(text: str) -> str | None:
    """Return the delimiter that a first line "sep=;" declares, as Excel writes it; None without such a line."""
    first = text.partition("\n")[0].strip().strip('"')
    return first[4:5] if first.lower().startswith("sep=") and len(first) <= 5 else None


def _detect_dialect(sample: FileSample, rename_columns: RenameColumns) -> type[csv.Dialect]:
    """Return a dialect with the declared delimiter, else the one whose header has known columns, or most columns."""

    class Detected(csv.excel):
        delimiter = ","
        strict = True  # otherwise an unclosed quote silently swallows the rows after it

    def score(delimiter: str) -> tuple[bool, int]:
        Detected.delimiter = delimiter
        header = list(rename_columns(_header(sample.text, Detected)))
        return _has_known_columns(header), len(header)

    Detected.delimiter = _declared_delimiter(sample.text) or max(DELIMITERS, key=score)
    return Detected


def _header(text: str, dialect: type[csv.Dialect]) -> list[str]:
    """Return the column names, without the empty ones that spreadsheets leave at the end; [] if there are none."""
    if _declared_delimiter(text):
        text = text.partition("\n")[2]
    lines = iter(f"{line}\n" for line in text.lstrip("\n").split("\n")[:MAX_HEADER_LINES])
    try:
        names = [name.strip() for name in next(csv.reader(lines, dialect), [])]
    except csv.Error:
        return []
    while names and not names[-1]:
        names.pop()
    return names


def _has_backslash_escapes(sample: FileSample, header: list[str], dialect: type[csv.Dialect]) -> bool:
    r"""Return True if cells write quotes as \": then more rows of the sample have the right number of cells."""
    if '\\"' not in sample.text:
        return False
    lines = [f"{line}\n" for line in sample.text.split("\n")]
    unescaped_lines = [_double_escaped_quotes(line) for line in lines]
    return _count_valid(unescaped_lines, len(header), dialect) > _count_valid(lines, len(header), dialect)


def _count_valid(lines: list[str], width: int, dialect: type[csv.Dialect]) -> int:
    """Count the rows with `width` cells, skipping broken lines."""
    count, at = 0, 0
    while at < len(lines):
        reader = csv.reader(lines[at:], dialect)
        try:
            count += sum(len(cells) == width for cells in reader)
            break
        except csv.Error:
            at += max(1, reader.line_num)
    return count


def _double_escaped_quotes(line: str) -> str:
    r"""Replace every \" by two quotes, as CSV escapes them; other backslashes are text."""
    return _ESCAPED_QUOTE.sub(lambda match: "\\" * (len(match[1]) // 2) + '"' * (1 + len(match[1]) % 2), line)


class _LineFeed:
    """Feeds lines to a csv reader, and feeds the lines again that a broken row has swallowed."""

    def __init__(self, file: BinaryIO, has_escapes: bool) -> None:
        self._lines, self._has_escapes = numbered_lines(file), has_escapes
        self._returned: deque[NumberedLine] = deque()
        self._row: list[NumberedLine] = []  # lines of the current row

    def __iter__(self) -> "_LineFeed":
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self._row.append(line)
        if isinstance(line, BadRow):
            return "\n"
        return (_double_escaped_quotes(line[1]) if self._has_escapes else line[1]) + "\n"

    def start_row(self) -> None:
        """Begin a new row with the next line."""
        self._row = []

    def return_row(self) -> None:
        """Feed all lines of the current row except the first one again."""
        self._returned.extendleft(reversed(self._row[1:]))

    @property
    def row_line(self) -> int:
        """Number of the first line of the current row."""
        first = self._row[0]
        return first.line if isinstance(first, BadRow) else first[0]

    @property
    def bad_line(self) -> BadRow | None:
        """First line of the current row that could not be decoded."""
        return next((line for line in self._row if isinstance(line, BadRow)), None)

    def declares_delimiter(self) -> bool:
        """Return True if the current row is a line such as "sep=;"."""
        first = self._row[0]
        return len(self._row) == 1 and not isinstance(first, BadRow) and _declared_delimiter(first[1]) is not None


def _rows(
    file: BinaryIO, header: list[str], dialect: type[csv.Dialect], *, has_escapes: bool
) -> Iterator[NumberedValue]:
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    feed = _LineFeed(file, has_escapes)
    reader = csv.reader(feed, dialect)
    is_after_header = False
    while True:
        feed.start_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            feed.return_row()
            yield BadRow(feed.row_line, f"its quotes or delimiters are broken ({error})")
            reader = csv.reader(feed, dialect)
            continue
        if not is_after_header:  # empty lines and "sep=;" may precede the header
            is_after_header = bool(cells) and not feed.declares_delimiter()
            continue
        if feed.bad_line:
            yield feed.bad_line
            continue
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()
        if len(cells) == len(header):
            yield feed.row_line, decode_cells({name: cell for name, cell in zip(header, cells, strict=True) if name})
        elif cells:
            yield BadRow(feed.row_line, f"it has {len(cells)} cells, but the header has {len(header)}")
