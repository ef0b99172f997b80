"""HTML pages, without scripts, styles, navigation and hidden elements."""

import re
from collections.abc import Iterator

from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource

_SUFFIXES = (".html", ".htm", ".xhtml", ".xht")
_BEGINNING = re.compile(
    r"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*"
    r"<(?:!doctype\s+html|html|head|body|title|meta|div|p|h[1-6]|table|article|section|main|ul|ol)\b",
    re.IGNORECASE | re.DOTALL,
)


def detect(source: DocumentSource) -> float:
    """High for a text that begins with an element of HTML, medium for the file name."""
    if _BEGINNING.match(source.text_head):
        return 0.5 if source.suffix in (".md", ".markdown") else 0.9
    return 0.6 if source.suffix in _SUFFIXES and source.text_head else 0.0


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:
    """Yield the blocks of the page in the order of its text."""
    from turnwise.retrieval.parsing.html_blocks import html_blocks, page_title, parse_html

    tree = parse_html(source.read_text())
    notes.title = page_title(tree)
    yield from html_blocks(tree)
