"""Tables as blocks: every row is one block that names its columns."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from turnwise.retrieval.parsed_document import Block

CELL_SEPARATOR = " | "
MAX_HEADER_CHARACTERS = 80  # of one cell; longer ones are text
_SPACE = re.compile(r"\s+")
_YEAR = re.compile(r"(?:19|20)\d\d")
_NUMBER = re.compile(r"[-+]?[\d.,  ]*\d[\d.,  ]*(?:%|[€$£¥]|[A-Z]{3})?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")


def format_row(header: Sequence[str], cells: Sequence[str]) -> str:
    """A row as text: "Price: 12 EUR | Colour: red". Empty cells are left out; empty if all are.

    Args:
        header: names of the columns; a missing or empty name leaves the value alone.
        cells: values of the row.
    """
    texts = []
    for index, cell in enumerate(cells):
        if value := collapse_space(cell):
            name = header[index] if index < len(header) else ""
            texts.append(f"{name.rstrip(':：')}: {value}" if name else value)
    return CELL_SEPARATOR.join(texts)


def is_header(cells: Sequence[str]) -> bool:
    """True if a first row can name the columns.

    Its cells are short, different and no numbers, except for years beside a name; one may be empty.
    """
    names = [name for cell in cells if (name := cell.strip())]
    words = [name for name in names if not _YEAR.fullmatch(name)]
    return (
        bool(words)
        and len(names) >= len(cells) - 1
        and len(set(names)) == len(names)
        and all(len(name) <= MAX_HEADER_CHARACTERS and not _NUMBER.fullmatch(name) for name in words)
    )


def table_blocks(rows: Iterable[Sequence[str]], page: int | None = None) -> Iterator[Block]:
    """Yield the rows of a table, the first of which names the columns if it can. Cells are stripped of white space.

    A table of one row, or of one column, has no header.
    """
    remaining = iter(rows)
    first = next((cells for row in remaining if any(cells := [collapse_space(cell) for cell in row])), None)
    if first is None:
        return
    second = next((row for row in remaining if any(cell.strip() for cell in row)), None)
    header: Sequence[str] = ()
    if second is not None and len(first) > 1 and is_header(first):
        header = first
    else:
        yield Block("table_row", CELL_SEPARATOR.join(filter(None, first)), page=page)
    for row in chain([second] if second is not None else [], remaining):
        if text := format_row(header, row):
            yield Block("table_row", text, page=page)


def collapse_space(text: str) -> str:
    """The text with every run of white space as one space, and none outside."""
    return _SPACE.sub(" ", text).strip()
