"""Parsers of documents, one file per format; the file name is the name of the format.

A parser module has

- `detect(source) -> float`: the confidence, from 0 to 1, that a document is of this format. The content counts first
  and the file name second;
- `parse(source, notes) -> Iterator[Block]`: yields the blocks in reading order, and notes the title and warnings. It
  is a generator, so that a table of a million rows needs little memory. It raises `UserError` for a document that it
  cannot read; the message begins with "It" or "Its", and whoever reports it names the document. It imports the
  library of its format itself, so that a missing library is an error of documents of this format only.

Parsers run in a process of their own (`retrieval/parser_process.py`): they may crash, hang or take too much memory.
"""

from collections.abc import Iterator
from typing import Protocol

from turnwise.core.errors import InvalidData
from turnwise.core.plugins import InvalidPlugin, PluginGroup
from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource

MIN_CONFIDENCE = 0.1


class DocumentParser(Protocol):
    """Interface of a parser module; see the docstring of this package."""

    def detect(self, source: DocumentSource) -> float:
        """Confidence, from 0 to 1, that a document is of this format."""

    def parse(self, source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:
        """Yield the blocks in reading order. Raises `UserError`."""


DOCUMENT_PARSERS: PluginGroup[DocumentParser] = PluginGroup(
    "document format", "document_parsers", (__name__, __path__), requires=("detect", "parse")
)


def detect_format(source: DocumentSource, notes: DocumentNotes) -> str:
    """Name of the format with the highest confidence.

    A parser of another package that cannot be imported is left out, with a warning.

    Raises:
        InvalidData: no format fits.
    """
    scores: dict[str, float] = {}
    for name in DOCUMENT_PARSERS.names():
        try:
            scores[name] = DOCUMENT_PARSERS.load(name).detect(source)
        except InvalidPlugin as error:
            notes.warn(str(error))
    best = max(scores, key=scores.__getitem__)
    if scores[best] < MIN_CONFIDENCE:
        raise InvalidData(f"It has no format that is read; those are {', '.join(DOCUMENT_PARSERS.names())}.")
    return best
