"""The port of a served knowledge base: its documents and passages, as the holder of one API key sees them.

A tenant is the name of an API key, and empty on a server without keys. It sees the documents of its own scope, which it
uploaded, and those of the shared scope, which everybody sees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from turnwise.core.knowledge import KnowledgeDocument
from turnwise.core.retrieval import NO_FILTERS, RetrievedPassage, Retriever, SearchMode

SHARED_SCOPE = ""


@dataclass(frozen=True, slots=True)
class KnowledgeStatus:
    """How far a knowledge base is, for the scopes that a tenant sees.

    Attributes:
        num_documents: number of documents.
        num_passages: number of passages.
        vector_share: share of the passages that have a vector, 0 to 1.
        encoder: name of the embedding model; None: search by words only.
    """

    num_documents: int
    num_passages: int
    vector_share: float
    encoder: str | None


@dataclass(frozen=True, slots=True)
class ServedDocument:
    """A document that a tenant sees.

    Attributes:
        document: the document.
        is_searchable: all its passages can be found by their words.
    """

    document: KnowledgeDocument
    is_searchable: bool

    @property
    def is_shared(self) -> bool:
        """True if every tenant sees it."""
        return self.document.scope == SHARED_SCOPE


@dataclass(frozen=True, slots=True)
class KnowledgeResult:
    """A passage that a search returns; scores are comparable within one scope only."""

    retrieved: RetrievedPassage
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """A document to add.

    Attributes:
        path: temporary file with its bytes.
        source: file name of the document; it replaces the tenant's earlier document of this name.
        metadata: properties that searches can filter by.
    """

    path: Path
    source: str
    metadata: Mapping[str, str]


class KnowledgeService(Protocol):
    """A served knowledge base. Thread-safe; the methods block. `app.knowledge.served_base` implements it."""

    @property
    def name(self) -> str:
        """Name of the knowledge base in requests."""

    def status(self, tenant: str) -> KnowledgeStatus:
        """How far it is."""

    def retriever(self, tenant: str, filters: Mapping[str, str] = NO_FILTERS) -> Retriever:
        """A retriever of what a tenant sees, and of it only what has the metadata."""

    def search(
        self, query: str, k: int, tenant: str, filters: Mapping[str, str] = NO_FILTERS, mode: SearchMode = "hybrid"
    ) -> Sequence[KnowledgeResult]:
        """At most `k` passages, best first; those of the two scopes take turns.

        Raises:
            InvalidParameter: mode "dense" without an encoder.
            Unavailable: the index is being built.
        """

    def add(self, upload: Upload, tenant: str) -> ServedDocument:
        """Parse a document and store it in the tenant's scope. It is searchable soon.

        Raises:
            InvalidData: it cannot be read, or has no text.
            Unavailable: another process writes to the knowledge base.
        """

    def documents(self, tenant: str, limit: int, after: int = 0) -> Sequence[ServedDocument]:
        """At most `limit` documents with ids above `after`, in the order of their ids."""

    def document(self, id: int, tenant: str) -> ServedDocument:
        """A document. Raises `NotFound` if the tenant sees none with this id."""

    def delete(self, id: int, tenant: str) -> None:
        """Delete a document of the tenant's scope; no search returns its passages afterwards.

        Raises:
            NotFound: the tenant sees no document with this id.
            Forbidden: it is shared, and the tenant is a key.
        """
