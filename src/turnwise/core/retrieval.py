"""The retrieval port: passages of documents, and the interface of what finds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

SearchMode = Literal["hybrid", "lexical", "dense"]
NO_FILTERS: Mapping[str, str] = {}
T = TypeVar("T")


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


class MergedRetriever:
    """Takes passages of several retrievers in turn, because their scores cannot be compared."""

    def __init__(self, retrievers: Sequence[Retriever]) -> None:
        self._retrievers = tuple(retrievers)

    def search(self, query: str, k: int) -> list[RetrievedPassage]:
        """At most `k` passages: the best of each retriever first."""
        return merge_rankings([retriever.search(query, k) for retriever in self._retrievers], k)


def merge_rankings(rankings: Sequence[Sequence[T]], k: int) -> list[T]:
    """The first `k` items of several rankings in turn: the best of each first."""
    ranks = range(max(map(len, rankings), default=0))
    return [ranking[rank] for rank in ranks for ranking in rankings if rank < len(ranking)][:k]
