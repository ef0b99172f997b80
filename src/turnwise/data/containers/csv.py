"""CSV and TSV: a header row, then a row of cells per line."""

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from turnwise.data import columns
from turnwise.data.containers import RenameColumns, Value
from turnwise.data.formats import long_form, row_confidence
from turnwise.data.lines import numbered_lines
from turnwise.data.rows import BadRow, FileSample, UnreadableFile
from turnwise.data.table_cells import decode_cells

UNIT = "line"
DELIMITERS = ",\t;|"
MAX_CELL = 2**20
_ESCAPED = re.compile(r'(\\+)"')
Line = tuple[int, str] | BadRow


def sniff(sample: FileSample) -> float:
    """Sure where the header has known columns; a name that ends in .csv or .tsv counts too."""
    if "\0" in sample.text:
        return 0.0
    named = 0.5 if sample.suffix in (".csv", ".tsv", ".tab") else 0.0
    if not named and sample.text.lstrip().startswith(("{", "[")):
        return 0.0
    header = _header(sample.text, _dialect(sample, list))
    # Prose and transcripts have commas too, but no header of several names that are known.
    return 0.9 if len(header) > 1 and _makes_sense(header) else named


def values(file: BinaryIO, sample: FileSample, renamed: RenameColumns) -> Iterator[Value]:
    """Each row under the header, by the names of the columns. Raises `Unreadable` where there is no usable header."""
    dialect = _dialect(sample, renamed)
    header = _header(sample.text, dialect)
    if not any(header):
        raise UnreadableFile("It has no header row.")
    names = [name for name in header if name]
    if len(set(names)) < len(names):
        raise UnreadableFile(f"Two of its columns have the same name: {', '.join(names)}.")
    return _rows(file, header, dialect, escapes=_has_escapes(sample, header, dialect))


def _makes_sense(header: list[str]) -> bool:
    row = dict.fromkeys(header, "x")
    return (
        columns.is_pair(header) or long_form.keys(header) is not None or row_confidence(row) >= 0.5 or "messages" in row
    )


def _declared(text: str) -> str | None:
    """The delimiter that a first line "sep=;" declares, as Excel writes it."""
    first = text.partition("\n")[0].strip().strip('"')
    return first[4:5] if first.lower().startswith("sep=") and len(first) <= 5 else None


def _dialect(sample: FileSample, renamed: RenameColumns) -> type[csv.Dialect]:
    """The delimiter under which the header makes most sense."""

    class Found(csv.excel):
        delimiter = ","
        strict = True  # else an open quote would swallow rows without a word

    def sense(delimiter: str) -> tuple[bool, int]:
        Found.delimiter = delimiter
        header = list(renamed(_header(sample.text, Found)))
        return _makes_sense(header), len(header)

    Found.delimiter = _declared(sample.text) or max(DELIMITERS, key=sense)
    return Found


def _header(text: str, dialect: type[csv.Dialect]) -> list[str]:
    """The names of the columns; empty ones at the end, which spreadsheets leave behind, are no columns."""
    if _declared(text):
        text = text.partition("\n")[2]
    lines = iter(f"{line}\n" for line in text.lstrip("\n").split("\n")[:100])
    try:
        names = [name.strip() for name in next(csv.reader(lines, dialect), [])]
    except csv.Error:
        return []
    while names and not names[-1]:
        names.pop()
    return names


def _has_escapes(sample: FileSample, header: list[str], dialect: type[csv.Dialect]) -> bool:
    """Whether quotes inside of cells are written with a backslash: more rows of the sample are whole when read so."""
    if '\\"' not in sample.text:
        return False
    lines = [f"{line}\n" for line in sample.text.split("\n")]
    plain, escaped = (
        _count_whole(given, len(header), dialect) for given in (lines, [_doubled(line) for line in lines])
    )
    return escaped > plain


def _count_whole(lines: list[str], width: int, dialect: type[csv.Dialect]) -> int:
    count, at = 0, 0
    while at < len(lines):
        reader = csv.reader(lines[at:], dialect)
        try:
            count += sum(len(cells) == width for cells in reader)
            break
        except csv.Error:
            at += max(1, reader.line_num)
    return count


def _doubled(line: str) -> str:
    """The line with doubled quotes for those behind a backslash; other backslashes are text."""
    return _ESCAPED.sub(lambda match: "\\" * (len(match[1]) // 2) + '"' * (1 + len(match[1]) % 2), line)


class _Feed:
    """Gives lines to the csv reader and takes back what a broken row has swallowed."""

    def __init__(self, file: BinaryIO, escapes: bool) -> None:
        self.lines, self.escapes = numbered_lines(file), escapes
        self.returned: deque[Line] = deque()
        self.taken: list[Line] = []

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self.returned.popleft() if self.returned else next(self.lines)
        self.taken.append(line)
        if isinstance(line, BadRow):
            return "\n"
        return (_doubled(line[1]) if self.escapes else line[1]) + "\n"

    def restart_after_first(self) -> None:
        """Give every line of the current row but the first another time."""
        self.returned.extendleft(reversed(self.taken[1:]))


def _rows(file: BinaryIO, header: list[str], dialect: type[csv.Dialect], *, escapes: bool) -> Iterator[Value]:
    csv.field_size_limit(MAX_CELL)
    feed = _Feed(file, escapes)
    reader = csv.reader(feed, dialect)
    started = False
    while True:
        feed.taken = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            feed.restart_after_first()
            yield BadRow(_line(feed), f"its quotes or delimiters are broken ({error})")
            reader = csv.reader(feed, dialect)
            continue
        if not started:  # up to the header there may be empty lines and "sep=;"
            started = bool(cells) and not (len(feed.taken) == 1 and _declared(_text(feed)) is not None)
            continue
        damaged = next((line for line in feed.taken if isinstance(line, BadRow)), None)
        if damaged:
            yield damaged
            continue
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()
        if len(cells) == len(header):
            yield _line(feed), decode_cells({name: cell for name, cell in zip(header, cells, strict=True) if name})
        elif cells:
            yield BadRow(_line(feed), f"it has {len(cells)} cells and the header has {len(header)}")


def _text(feed: _Feed) -> str:
    first = feed.taken[0]
    return "" if isinstance(first, BadRow) else first[1]


def _line(feed: _Feed) -> int:
    first = feed.taken[0]
    return first.line if isinstance(first, BadRow) else first[0]
