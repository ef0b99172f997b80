"""A knowledge base: records of documents and passages, and the ports that store, embed and rerank them.

The store is the truth. Indexes are derived from it: they read new passages and deletions in the order of their numbers,
and a search returns only what the store still has.

Shapes: R ranges of passage ids, N texts, D dimensions of a vector.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Change = Literal["added", "replaced", "unchanged"]


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to add.

    Attributes:
        source: name, path or URL. A scope has at most one document of each source.
        sha256: SHA-256 of the document's bytes, 64 hexadecimal digits.
        title: its title; empty if it has none.
        metadata: properties that searches can filter by.
        scope: the tenant that it belongs to. No other scope sees it.
        warnings: sentences about what was not read.
    """

    source: str
    sha256: str
    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    scope: str = ""
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DocumentDescription:
    """What is known about a document after its last passage. Attributes: see `NewDocument`."""

    title: str
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class NewPassage:
    """A passage to add. Positions are those of `retrieval.parsed_document.PassageSpan`."""

    text: str
    start: int
    end: int
    headings: Sequence[str] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class KnowledgeDocument:
    """A stored document. The first attributes are those of `NewDocument`.

    Attributes:
        id: its number, never reused. A replaced document gets a new one.
        scope_id: number of the scope.
        created: when its source was first added, in Unix seconds.
        updated: when this version was added.
        first_passage: id of its first passage; the others follow without a gap.
        num_passages: number of passages, at least 1.
    """

    source: str
    sha256: str
    title: str
    metadata: Mapping[str, str]
    scope: str
    warnings: Sequence[str]
    id: int
    scope_id: int
    created: float
    updated: float
    first_passage: int
    num_passages: int


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage of a stored document.

    Attributes:
        id: its number, never reused. A passage that became visible later has a higher one.
    """

    id: int
    document: KnowledgeDocument
    text: str
    start: int
    end: int
    headings: tuple[str, ...]
    page: int | None

    @property
    def index_text(self) -> str:
        """What indexes read: title and headings, which say what the passage is about, and the text."""
        names = dict.fromkeys(name for name in (self.document.title, *self.headings) if name)
        return "\n".join([*names, self.text])


@dataclass(frozen=True, slots=True)
class AddedDocument:
    """What `KnowledgeStore.add` did, and the document that is stored now."""

    change: Change
    document: KnowledgeDocument


@dataclass(frozen=True, slots=True)
class ScopeCounts:
    """A scope with its numbers of documents and passages."""

    id: int
    name: str
    num_documents: int
    num_passages: int


@dataclass(frozen=True, slots=True)
class StorePosition:
    """How far a store is; derived indexes compare themselves with it.

    Attributes:
        base: random id of the store.
        last_passage: highest passage id that was ever visible.
        last_deletion: number of the last deletion.
        last_pruned_deletion: the log has the deletions after this number.
    """

    base: str
    last_passage: int
    last_deletion: int
    last_pruned_deletion: int = 0


@dataclass(frozen=True, slots=True)
class Deletion:
    """The passages of a document that is no longer there.

    Attributes:
        number: position in the order of deletions, from 1.
        document: id of the document.
        first_passage: id of its first passage.
        num_passages: number of its passages.
    """

    number: int
    document: int
    first_passage: int
    num_passages: int


class KnowledgeStore(Protocol):
    """Documents and passages. Thread-safe; `store.sqlite.knowledge_store` implements it."""

    def add(
        self,
        document: NewDocument,
        passages: Iterable[NewPassage],
        describe: Callable[[], DocumentDescription] | None = None,
    ) -> AddedDocument:
        """Add a document, or replace the one of the same source and scope.

        The change is atomic: a search sees the old document or the new one. A document with equal bytes, title and
        metadata is left as it is, and `passages` is not read.

        Args:
            document: the document.
            passages: its passages, which are read in batches and may be of any number.
            describe: called after the last passage for the title and the warnings, which follow from the bytes. None:
                those of `document`.

        Raises:
            InvalidData: the document has no passages, or a text is not valid Unicode. Nothing was changed.
            SaveFailed: a write failed. Nothing was changed.
            Unavailable: another process is writing. Nothing was changed.
        """

    def delete(self, document_id: int, scope: str) -> bool:
        """Delete a document of a scope; no search returns its passages afterwards. False: there is none."""

    def find_document(self, source: str, scope: str) -> KnowledgeDocument | None:
        """The document of a source in a scope."""

    def documents(self, scope: str, limit: int, after: int = 0) -> list[KnowledgeDocument]:
        """Documents of a scope with ids above `after`, in the order of their ids."""

    def scope_counts(self, scope: str) -> ScopeCounts | None:
        """Numbers of a scope; None if it never had a document."""

    def scopes(self) -> list[ScopeCounts]:
        """All scopes, by name."""

    def position(self) -> StorePosition:
        """How far the store is."""

    def passages_after(self, passage_id: int, limit: int) -> list[StoredPassage]:
        """At most `limit` passages of all scopes with ids above `passage_id`, in the order of their ids."""

    def deletions_after(self, number: int, limit: int) -> list[Deletion]:
        """At most `limit` deletions with numbers above `number`, in order."""

    def fetch(self, passage_ids: Sequence[int], scope: str, filters: Mapping[str, str]) -> list[StoredPassage]:
        """Those of these passages that exist, belong to the scope and have the metadata, in the order of the ids."""

    def document_passages(self, document_id: int, scope: str) -> Iterator[StoredPassage]:
        """The passages of a document of a scope, in order."""

    def matching_ranges(self, scope: str, filters: Mapping[str, str], after: int = 0) -> NDArray[np.int64]:
        """First and last passage id of documents with the metadata, shape `(R, 2)`, ascending.

        Only documents whose first passage has an id above `after`.
        """

    def setting(self, name: str) -> str | None:
        """A stored setting; None if it is not set."""

    def save_setting(self, name: str, value: str) -> None:
        """Store a setting."""

    def problems(self) -> list[str]:
        """Check the store; sentences about what is damaged."""

    def compact(self) -> None:
        """Return the space of deleted documents to the file system."""

    def close(self) -> None:
        """Close the store."""


class TextEncoder(Protocol):
    """Turns texts into vectors. `app.knowledge.encoder` implements it."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that the vectors depend on: weights, prefixes, pooling, maximum length, quantization."""

    @property
    def dimension(self) -> int:
        """Length of the vectors."""

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector of a query, shape `(D,)`, of length 1."""

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of passages, shape `(N, D)`, of length 1. Longer texts are truncated."""


class Reranker(Protocol):
    """Scores texts by how well they answer a query."""

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """One score per text; higher is better."""
