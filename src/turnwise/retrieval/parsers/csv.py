"""CSV: every row is a block that names its columns."""

from collections.abc import Iterator

from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.delimited_rows import consistency, detect_delimiter, read_rows, sample_rows
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource
from turnwise.retrieval.parsing.table_rows import table_blocks

MIN_ROWS = 4  # of a text without the name of a table, to be taken for one


def detect(source: DocumentSource) -> float:
    """Medium for the file name; low for a text of many rows with the same number of three or more cells."""
    if not source.text_head or source.text_head.lstrip().startswith(("{", "[", "<")):
        return 0.0
    if source.suffix == ".csv":
        return 0.7
    rows = sample_rows(source.text_head, ",")
    is_table = len(rows) >= MIN_ROWS and len(rows[0]) > 2 and consistency(rows) == 1
    return 0.4 if is_table and not any(cell.startswith(" ") for row in rows for cell in row) else 0.0


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:  # noqa: ARG001
    """Yield the rows. The first one names the columns, unless it has numbers or empty cells."""
    delimiter = detect_delimiter(source.text_head)
    yield from table_blocks(row for _, row in read_rows(source, delimiter))
