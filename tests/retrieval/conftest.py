"""Documents for the parsers, made on the spot."""

from collections import namedtuple

import pytest

from turnwise.retrieval.parsing.document_source import DocumentNotes
from turnwise.retrieval.parsing.parse_document import parse_document

Parsed = namedtuple("Parsed", ["blocks", "title", "warnings"])


@pytest.fixture
def write(tmp_path):
    """Write a document: `write(name, content)` returns its path."""

    def write_document(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_document


@pytest.fixture
def parse(write):
    """Write a document and parse it in this process; blocks are (kind, text), of headings (kind, level, text)."""

    def parse_content(name, content):
        notes = DocumentNotes()
        blocks = [
            (block.kind, block.level, block.text) if block.kind == "heading" else (block.kind, block.text)
            for block in parse_document(write(name, content), notes)
        ]
        return Parsed(blocks, notes.title, notes.all_warnings())

    return parse_content
