"""A document as the parsers receive it, and what they note about it besides its blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TextIO

from turnwise.core.errors import InvalidData
from turnwise.core.plurals import pluralize
from turnwise.retrieval.parsing.clean_text import clean_text
from turnwise.retrieval.parsing.limits import MAX_FILE_BYTES, MAX_WARNINGS, check_tree_size
from turnwise.retrieval.parsing.signatures import check_readable, is_binary_document
from turnwise.retrieval.parsing.text_decoding import TextEncoding, declared_encoding, detect_encoding

HEAD_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """A document to parse.

    Attributes:
        path: the file.
        name: file name of the document, without folders; `path` may be a temporary file of another name.
        size: bytes of the file.
        head: the first `HEAD_BYTES` bytes.
        encoding: encoding of a text; None for PDF files and archives.
        text_head: `head` decoded; empty for PDF files and archives. It may end in the middle of a line.
    """

    path: Path
    name: str
    size: int
    head: bytes
    encoding: TextEncoding | None
    text_head: str

    @property
    def suffix(self) -> str:
        """Suffix of the file name in lower case, such as ".pdf"."""
        return PurePath(self.name).suffix.lower()

    def read_text(self) -> str:
        """All of a text, with line feeds as line ends. Raises `InvalidData` if it is too large or not text."""
        check_tree_size(self.size)
        encoding = self.encoding or detect_encoding(self.path)
        return self.path.read_text(encoding=encoding.name)

    @contextmanager
    def open_text(self, newline: str | None = None) -> Iterator[TextIO]:
        """The text as a stream; `newline` as in `open`. Raises `InvalidData` if it is not text."""
        encoding = self.encoding or detect_encoding(self.path)
        with self.path.open(encoding=encoding.name, newline=newline) as file:
            yield file


def open_source(path: Path, name: str | None = None) -> DocumentSource:
    """Prepare a file for the parsers.

    Args:
        path: the file.
        name: file name of the document, if `path` has another.

    Raises:
        InvalidData: the file is empty, too large, of a kind that is not read, or not in a known encoding.
        OSError: the file cannot be read.
    """
    name = PurePath(name or path).name
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InvalidData(f"It has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read. Divide it.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise InvalidData("It is empty.")
    check_readable(head)
    if is_binary_document(head):
        return DocumentSource(path, name, size, head, None, "")
    encoding = detect_encoding(path, declared_encoding(head))
    # The head may end in the middle of a character: this text is for recognition only.
    text_head = head.decode(encoding.name, errors="ignore").replace("\r\n", "\n").replace("\r", "\n")
    return DocumentSource(path, name, size, head, encoding, text_head)


@dataclass(slots=True)
class DocumentNotes:
    """What a parser notes about a document while it yields the blocks.

    Attributes:
        title: the title by the document's metadata or first heading; empty if it has none.
        warnings: sentences about what was not read; at most `MAX_WARNINGS`.
    """

    title: str = ""
    warnings: list[str] = field(default_factory=list)
    _num_omitted: int = 0

    def warn(self, sentence: str) -> None:
        """Add a warning, unless there is the same already."""
        sentence = clean_text(sentence)
        if sentence in self.warnings:
            return
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(sentence)
        else:
            self._num_omitted += 1

    def all_warnings(self) -> list[str]:
        """The warnings, and a sentence that counts those left out."""
        omitted = [f"There are {pluralize(self._num_omitted, 'more warning')}."] if self._num_omitted else []
        return [*self.warnings, *omitted]
