"""Reads the documents of a scenario that need a parser, such as HTML and PDF, and remembers them by their content."""

import hashlib
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.core.retrieval import Passage, PassageLocation
from turnwise.retrieval.parsed_document import ParsedDocument
from turnwise.retrieval.parser_process import ParserProcess
from turnwise.retrieval.passages import divide_into_passages
from turnwise.scenarios.definition import KnowledgeDocument

MAX_DOCUMENTS = 2000  # that are remembered


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document that was parsed.

    Attributes:
        text: its text; empty if it cannot be read.
        passages: its passages; locations refer to `text`.
        warnings: sentences about what was not read.
        problem: why it cannot be read; None if it can.
    """

    text: str = ""
    passages: tuple[Passage, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str | None = None


class DocumentReader:
    """Parses documents in a process of its own, each content once. Thread-safe."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], ReadDocument] = {}
        self._lock = threading.Lock()

    def read(self, documents: Iterable[KnowledgeDocument]) -> list[tuple[KnowledgeDocument, ReadDocument]]:
        """The documents that need a parser, as they were read. Others, which have a text, are left out.

        Raises:
            Unavailable: the parser cannot be started.
        """
        to_read = [(document, _key(document)) for document in documents if document.content is not None]
        with self._lock:
            missing = {key: document for document, key in to_read if key not in self._documents}
            if missing:
                with ParserProcess() as parsers, tempfile.TemporaryDirectory(prefix="turnwise-scenario-") as folder:
                    for key, document in missing.items():
                        self._documents[key] = _parse(document, key[0], parsers, Path(folder) / "document")
            results = [(document, self._documents[key]) for document, key in to_read]
            for _, key in to_read:  # those that were used last are at the end
                self._documents[key] = self._documents.pop(key)
            while len(self._documents) > max(MAX_DOCUMENTS, len(to_read)):
                del self._documents[next(iter(self._documents))]
        return results


def _key(document: KnowledgeDocument) -> tuple[str, str]:
    assert document.content is not None
    return hashlib.sha256(document.content).hexdigest(), document.path


def _parse(document: KnowledgeDocument, sha256: str, parsers: ParserProcess, path: Path) -> ReadDocument:
    assert document.content is not None
    path.write_bytes(document.content)
    try:
        parsed = parsers.parse(path, document.path)
    except InvalidData as error:
        return ReadDocument(problem=str(error))
    return ReadDocument(parsed.text, tuple(_passages(document, parsed, sha256)), tuple(parsed.warnings))


def _passages(document: KnowledgeDocument, parsed: ParsedDocument, sha256: str) -> Iterable[Passage]:
    for passage in divide_into_passages(parsed.blocks):
        span = passage.span
        location = PassageLocation(sha256, span.start, span.end, tuple(span.headings), span.page)
        yield Passage(passage.text, parsed.title or document.path, {"path": document.path}, location)
