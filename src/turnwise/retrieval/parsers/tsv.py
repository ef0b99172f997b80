"""TSV: tables with tabs between the cells; every row is a block that names its columns."""

from collections.abc import Iterator

from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.delimited_rows import consistency, read_rows, sample_rows
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource
from turnwise.retrieval.parsing.table_rows import table_blocks

MIN_ROWS = 3  # of a text without the name of a table, to be taken for one


def detect(source: DocumentSource) -> float:
    """Medium for the file name or a text in which every row has the same number of tabs."""
    if not source.text_head or "\t" not in source.text_head:
        return 0.0
    rows = sample_rows(source.text_head, "\t")
    if source.suffix in (".tsv", ".tab"):
        return 0.7
    is_table = len(rows) >= MIN_ROWS and consistency(rows) == 1 and all(row[0] for row in rows)
    return 0.65 if is_table and source.suffix not in (".csv", ".md") else 0.0


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:  # noqa: ARG001
    """Yield the rows. The first one names the columns, unless it has numbers or empty cells."""
    yield from table_blocks(row for _, row in read_rows(source, "\t"))
