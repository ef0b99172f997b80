"""The retrieval port: passages of documents, and the interface of what finds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PassageLocation:
    """Where a passage of an indexed document stands, so that it can be cited.

    Attributes:
        document_hash: SHA-256 of the document's bytes, 64 hexadecimal digits.
        start: position of the first character in the document's extracted text.
        end: position after the last character.
        headings: the headings above the passage, outermost first.
        page: page of the first character, from 1; None if the document has no pages.
    """

    document_hash: str
    start: int
    end: int
    headings: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that answers may rely on.

    Attributes:
        text: the text, valid Unicode.
        source: name of the document that contains it, shown to the model; empty if it has none.
        metadata: further properties, not shown to the model.
        location: where it stands; None if the passage is not from an indexed document.
    """

    text: str
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    location: PassageLocation | None = None


@dataclass(frozen=True, slots=True)
class RetrievedPassage:
    """A passage and its score; higher scores are more relevant, and comparable within one search only."""

    passage: Passage
    score: float


class Retriever(Protocol):
    """Finds passages for a query. Thread-safe."""

    def search(self, query: str, k: int) -> Sequence[RetrievedPassage]:
        """At most `k` passages, best first; none if nothing is relevant. May block: call it in a thread."""
