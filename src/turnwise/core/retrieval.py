"""The retrieval port: passages of documents, and the interface of what finds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that answers may rely on.

    Attributes:
        text: the text, valid Unicode.
        source: name of the document that contains it, shown to the model; empty if it has none.
        metadata: further properties, not shown to the model.
    """

    text: str
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrievedPassage:
    """A passage and its score; higher scores are more relevant, and comparable within one search only."""

    passage: Passage
    score: float


class Retriever(Protocol):
    """Finds passages for a query. Thread-safe."""

    def search(self, query: str, k: int) -> Sequence[RetrievedPassage]:
        """At most `k` passages, best first; none if nothing is relevant. May block: call it in a thread."""
