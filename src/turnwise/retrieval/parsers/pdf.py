"""PDF: paragraphs in reading order, headings by bookmarks and font size, without headers and footers."""

from collections.abc import Iterator

from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource
from turnwise.retrieval.parsing.signatures import PDF_HEADER_BYTES, PDF_MARK


def detect(source: DocumentSource) -> float:
    """Certain for the mark of PDF, which may stand anywhere in the first kilobyte."""
    return 1.0 if PDF_MARK in source.head[:PDF_HEADER_BYTES] else 0.0


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:
    """Yield the blocks of all pages. Raises `InvalidData` if the file is encrypted, damaged, or has no text."""
    from turnwise.retrieval.parsing.pdf_document import pdf_blocks

    yield from pdf_blocks(source, notes)
