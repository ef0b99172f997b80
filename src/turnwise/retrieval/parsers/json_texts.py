"""Texts in JSON lines: an object per line with `text`, and `heading`, which names what follows."""

from collections.abc import Iterator

from turnwise.core.errors import InvalidData
from turnwise.core.json_file import parse_json
from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource

_SUFFIXES = (".jsonl", ".ndjson")


def detect(source: DocumentSource) -> float:
    """High for JSON lines whose first object has a `text`."""
    first_line = source.text_head.lstrip("\ufeff\n ").partition("\n")[0]
    return 0.9 if source.suffix in _SUFFIXES and '"text"' in first_line else 0.0


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:  # noqa: ARG001
    """Yield a paragraph per line, and a heading where `heading` changes. Raises `UserError` with the line."""
    heading = ""
    with source.open_text() as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = parse_json(line.encode("utf-8", "surrogatepass"), f"Its line {number:,}")
            text = row.get("text") if isinstance(row, dict) else None
            name = row.get("heading") or "" if isinstance(row, dict) else ""
            if not isinstance(text, str) or not isinstance(name, str):
                raise InvalidData(f"Its line {number:,} should be an object with a 'text', and a 'heading' of text.")
            if name.strip() and name.strip() != heading:
                heading = name.strip()
                yield Block("heading", heading, level=1)
            if text.strip():
                yield Block("paragraph", text.strip())
