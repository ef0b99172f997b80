"""Reads files into passages of a knowledge base."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.core.knowledge import DocumentDescription, NewPassage
from turnwise.retrieval.parser_process import ParsedStream, ParserProcess
from turnwise.retrieval.passages import divide_into_passages


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """A document that is being read.

    Attributes:
        passages: its passages in order, to be read once.
        stream: the parser's blocks, title and warnings.
    """

    passages: Iterator[NewPassage]
    stream: ParsedStream

    def describe(self) -> DocumentDescription:
        """Title and warnings. To be called after the last passage."""
        return DocumentDescription(self.stream.title, self.stream.warnings)


@contextmanager
def open_document(path: Path, parsers: ParserProcess, name: str | None = None) -> Iterator[OpenDocument]:
    """Parse a file and divide it into passages, in bounded memory.

    Args:
        path: the file.
        parsers: parses it.
        name: file name of the document, if `path` has another.

    Raises:
        UnreadableDocument: in the iteration over the passages.
    """
    with parsers.open(path, name or path.as_posix()) as stream:
        passages = divide_into_passages(block for batch in stream for block in batch)
        yield OpenDocument(
            (NewPassage(p.text, p.span.start, p.span.end, p.span.headings, p.span.page) for p in passages), stream
        )


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises `InvalidData` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidData(f"{path} cannot be read: {error.strerror or error}.") from error


def find_files(path: Path) -> list[Path]:
    """The file, or all files of a folder that are not hidden, in order. Raises `InvalidData` if there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidData(f"{path} does not exist.")
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(name.startswith(".") for name in file.relative_to(path).parts)
    )
    if not files:
        raise InvalidData(f"The folder {path} has no files.")
    return files
