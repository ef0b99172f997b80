"""CSV and TSV: a header row, then one question and answer per row, or one message per row."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from turnwise.data import columns
from turnwise.data.lines import numbered_lines, take_sample
from turnwise.data.long_form import gathered
from turnwise.data.rows import BadRow, Row, Sample, Unreadable, parsed

EXPECTED = columns.EXPECTED
EXAMPLE = 'prompt,response,topic\nWhere is the key?,"Under the mat, as always.",home\n"Say ""hi""",hi,words\n'

DELIMITERS = ",\t;|"
MAX_CELL = 2**20
Cells = dict[str, str]


def sniff(sample: Sample) -> float:
    """Sure where the header has known columns; a name that ends in .csv or .tsv counts too."""
    named = 0.5 if sample.suffix in (".csv", ".tsv") else 0.0
    if sample.record is not None or b"\0" in sample.head:
        return 0.0
    return 0.9 if columns.is_known(_header(sample.text, _dialect(sample))) else named


def read(file: BinaryIO) -> Iterator[Row]:
    """Conversations from the rows under the header. Raises `Unreadable` where its columns are not known."""
    sample = take_sample("", file)
    header = _header(sample.text, _dialect(sample))
    if not any(header):
        raise Unreadable("It has no header row.")
    if len(set(header)) < len(header):
        raise Unreadable(f"Two of its columns have the same name: {', '.join(header)}.")
    message_columns = columns.long_form(header)
    rows = _rows(file, header, _dialect(sample))
    return gathered(rows, *message_columns) if message_columns else parsed(rows, columns.parser(header))


def _dialect(sample: Sample) -> type[csv.Dialect]:
    """The delimiter under which the header makes most sense; backslash escapes where they are used."""
    backslashes = '\\"' in sample.text and '""' not in sample.text.replace('\\"', "")

    class Found(csv.excel):
        delimiter = ","
        strict = True  # else an open quote would swallow rows without a word
        doublequote = not backslashes
        escapechar = "\\" if backslashes else None

    def sense(delimiter: str) -> tuple[bool, int]:
        Found.delimiter = delimiter
        header = _header(sample.text, Found)
        return columns.is_known(header), len(header)

    Found.delimiter = max(DELIMITERS, key=sense)
    return Found


def _header(text: str, dialect: type[csv.Dialect]) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([text.partition("\n")[0]], dialect), [])]
    except csv.Error:
        return []


class _Feed:
    """Gives lines to the csv reader and takes back what a broken row has swallowed."""

    def __init__(self, file: BinaryIO) -> None:
        self.lines = numbered_lines(file)
        self.returned: deque[tuple[int, str] | BadRow] = deque()
        self.taken: list[tuple[int, str] | BadRow] = []

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self.returned.popleft() if self.returned else next(self.lines)
        self.taken.append(line)
        return "\n" if isinstance(line, BadRow) else line[1] + "\n"

    def restart_after_first(self) -> None:
        """Give every line of the current row but the first another time."""
        self.returned.extendleft(reversed(self.taken[1:]))


def _rows(file: BinaryIO, header: list[str], dialect: type[csv.Dialect]) -> Iterator[tuple[int, Cells] | BadRow]:
    csv.field_size_limit(MAX_CELL)
    feed = _Feed(file)
    reader = csv.reader(feed, dialect)
    next(reader, None)
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
        damaged = next((line for line in feed.taken if isinstance(line, BadRow)), None)
        if damaged:
            yield damaged
        elif len(cells) == len(header):
            yield _line(feed), dict(zip(header, cells, strict=True))
        elif cells:
            yield BadRow(_line(feed), f"it has {len(cells)} cells and the header has {len(header)}")


def _line(feed: _Feed) -> int:
    first = feed.taken[0]
    return first.line if isinstance(first, BadRow) else first[0]
