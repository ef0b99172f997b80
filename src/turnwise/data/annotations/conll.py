"""CoNLL columns: a token per line with its tags in columns, and an empty line after every sentence.

Columns are separated by tabs if the first line has one, else by spaces. A line that begins with `-DOCSTART-` begins a
document. In CoNLL-U files, lines that begin with "#" before a sentence are comments, "# newdoc" begins a document, and
words with ids such as "1-2" (contractions) and "8.1" (empty nodes) are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from turnwise.data.annotations.annotated import TaggedSentence
from turnwise.data.lines import numbered_lines
from turnwise.data.rows import BadRow, UnreadableFile

EXPECTED = "a token and its tags per line, such as 'Paris NNP B-LOC', and an empty line after every sentence"
DOCUMENT_START = "-DOCSTART-"
_SPACES = re.compile(r"[ \t]+")  # not `str.split`: a no-break space can be part of a token
_WORD_ID = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class ConllColumns:
    """Positions of the columns that are read, from 0; negative ones count from the end."""

    token: int = 0
    tag: int = -1


UNIVERSAL = ConllColumns(token=1, tag=3)  # word form and part of speech of CoNLL-U


class ConllReader:
    """Reads the sentences of a file in CoNLL columns.

    Args:
        columns: columns of tokens and tags. Default: the first and the last one; those of `UNIVERSAL` for CoNLL-U.
        is_universal: the file is CoNLL-U.
    """

    def __init__(self, columns: ConllColumns | None = None, *, is_universal: bool = False) -> None:
        self._columns = columns or (UNIVERSAL if is_universal else ConllColumns())
        self._is_universal = is_universal
        self._document = 0
        self._num_columns = 0  # of every line; 0 before the first
        self._first_line = 0
        self._separator: re.Pattern[str] = _SPACES

    def read(self, file: BinaryIO) -> Iterator[tuple[int, TaggedSentence] | BadRow]:
        """Yield every sentence with the number of its first line; a sentence with an invalid line is a bad row.

        Raises `UnreadableFile` if the file does not have the columns.
        """
        rows: list[tuple[str, str]] = []
        start, bad_row = 0, None
        for numbered in numbered_lines(file):
            if isinstance(numbered, BadRow):
                bad_row = bad_row or numbered
                continue
            number, line = numbered
            if not line.strip(" \t"):
                yield from self._sentence(start, rows, bad_row)
                rows, bad_row = [], None
            elif line.startswith(DOCUMENT_START):
                yield from self._sentence(start, rows, bad_row)
                rows, bad_row = [], None
                self._document += 1
            elif self._is_universal and not rows and line.startswith("#"):
                self._document += line[1:].strip().startswith("newdoc")
            elif not (self._is_universal and not _WORD_ID.fullmatch(line.partition("\t")[0])):
                start = start if rows or bad_row else number
                cells = self._cells(number, line)
                if isinstance(cells, BadRow):
                    bad_row = bad_row or cells
                else:
                    rows.append((cells[self._columns.token], cells[self._columns.tag]))
        yield from self._sentence(start, rows, bad_row)

    def _sentence(
        self, start: int, rows: list[tuple[str, str]], bad_row: BadRow | None
    ) -> Iterator[tuple[int, TaggedSentence] | BadRow]:
        if bad_row is not None:
            yield bad_row
        elif rows:
            tokens, tags = zip(*rows, strict=True)
            yield start, TaggedSentence(tokens, tags, self._document)

    def _cells(self, number: int, line: str) -> list[str] | BadRow:
        if not self._num_columns:
            self._separator = re.compile("\t") if "\t" in line else _SPACES
        cells = self._separator.split(line.strip(" \t") if self._separator is _SPACES else line)
        if not self._num_columns:
            self._num_columns, self._first_line = len(cells), number
            needed = max(_minimum(self._columns.token), _minimum(self._columns.tag), 2)
            if len(cells) < needed:
                raise UnreadableFile(f"Its line {number} has {len(cells)} columns, and at least {needed} are needed.")
        if len(cells) != self._num_columns:
            return BadRow(number, f"it has {len(cells)} columns, but line {self._first_line} has {self._num_columns}")
        if not all(cells[column].strip() for column in (self._columns.token, self._columns.tag)):
            return BadRow(number, "its token or its tag is empty")
        return cells


def _minimum(column: int) -> int:
    """Number of columns that a file must have."""
    return column + 1 if column >= 0 else -column
