"""Reads rows of CSV and TSV files: detects the delimiter, and refuses a file whose quotes are broken."""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from turnwise.core.errors import InvalidData
from turnwise.retrieval.parsing.document_source import DocumentSource
from turnwise.retrieval.parsing.limits import MAX_CELL_CHARACTERS

DELIMITERS = ",\t;|"
SAMPLE_ROWS = 50


def declared_delimiter(text: str) -> str | None:
    """The delimiter that a first line "sep=;" declares, as Excel writes it; None without such a line."""
    first = text.partition("\n")[0].strip().strip('"')
    return first[4:5] if first.lower().startswith("sep=") and len(first) == 5 else None


def sample_rows(text: str, delimiter: str) -> list[list[str]]:
    """The first rows of a text that is divided by `delimiter`, without the last, which may be cut; [] if broken."""
    if declared_delimiter(text):
        text = text.partition("\n")[2]
    lines = text.lstrip("\n").splitlines(keepends=True)
    try:
        rows = list(islice(csv.reader(lines, delimiter=delimiter), SAMPLE_ROWS))
    except csv.Error:
        return []
    return [row for row in rows if row][: SAMPLE_ROWS - 1]


def consistency(rows: Sequence[Sequence[str]]) -> float:
    """Share of the rows that have as many cells as the first; 0 if the first has one."""
    if not rows or len(rows[0]) < 2:
        return 0.0
    return sum(len(row) == len(rows[0]) for row in rows) / len(rows)


def detect_delimiter(text: str) -> str:
    """The delimiter that the file declares, or by which the most rows have the same number of cells."""

    def score(delimiter: str) -> tuple[float, int]:
        rows = sample_rows(text, delimiter)
        return consistency(rows), len(rows[0]) if rows else 0

    return declared_delimiter(text) or max(DELIMITERS, key=score)


def read_rows(source: DocumentSource, delimiter: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that have any text, each with the number of its last line.

    Args:
        source: the document.
        delimiter: character between the cells. Default: detected.

    Raises:
        InvalidData: quotes are broken, or a cell is too long.
    """
    delimiter = delimiter or detect_delimiter(source.text_head)
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    with source.open_text(newline="") as file:
        first = file.readline(MAX_CELL_CHARACTERS)
        lines = file if declared_delimiter(first) else chain([first], file)
        # Strict: otherwise a quote that is not closed silently swallows the rows after it.
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
        except csv.Error as error:
            raise InvalidData(
                f"Its quotes or delimiters are broken near line {reader.line_num:,} ({error})."
            ) from error
