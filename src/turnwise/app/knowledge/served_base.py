"""A knowledge base as a server offers it: a tenant sees its own scope and the shared one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from turnwise.app.knowledge.index_workers import IndexWorkers
from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.app.knowledge.open_base import open_knowledge_base
from turnwise.core.errors import Forbidden, InvalidParameter, NotFound
from turnwise.core.knowledge import KnowledgeDocument
from turnwise.core.knowledge_service import (
    SHARED_SCOPE,
    KnowledgeResult,
    KnowledgeService,
    KnowledgeStatus,
    ServedDocument,
    Upload,
)
from turnwise.core.retrieval import NO_FILTERS, MergedRetriever, Retriever, SearchMode, merge_rankings
from turnwise.retrieval.index_cursor import IndexDamaged

MAX_NAME_CHARS = 64  # as in the request field `knowledge`


class ServedKnowledgeBase:
    """Implements `core.knowledge_service.KnowledgeService`.

    Args:
        name: name in requests.
        base: the open knowledge base. `IndexWorkers` keep its indexes up to date.
        encoder: name of its embedding model.

    Attributes:
        notice: why there is no encoder although one was used before; None if there is nothing to say.
    """

    def __init__(self, name: str, base: KnowledgeBase, encoder: str | None = None) -> None:
        self.name, self.notice = name, base.notice
        self._base, self._encoder = base, encoder

    def status(self, tenant: str) -> KnowledgeStatus:
        """See `KnowledgeService.status`."""
        counts = [entry for entry in map(self._base.store.scope_counts, _scopes(tenant)) if entry is not None]
        num_passages = sum(scope.num_passages for scope in counts)
        num_vectors = sum(self._base.index.coverage(scope) * scope.num_passages for scope in counts)
        return KnowledgeStatus(
            sum(scope.num_documents for scope in counts),
            num_passages,
            num_vectors / num_passages if num_passages else float(self._base.encoder is not None),
            self._encoder,
        )

    def retriever(self, tenant: str, filters: Mapping[str, str] = NO_FILTERS) -> Retriever:
        """See `KnowledgeService.retriever`."""
        return MergedRetriever([self._base.index.for_scope(scope, filters) for scope in _scopes(tenant)])

    def search(
        self, query: str, k: int, tenant: str, filters: Mapping[str, str] = NO_FILTERS, mode: SearchMode = "hybrid"
    ) -> Sequence[KnowledgeResult]:
        """See `KnowledgeService.search`."""
        rankings = []
        for scope in _scopes(tenant):
            outcome = self._base.index.search_scope(query, k, scope, filters, mode)
            rankings.append([KnowledgeResult(item, scope == SHARED_SCOPE) for item in outcome.passages])
        return merge_rankings(rankings, k)

    def add(self, upload: Upload, tenant: str) -> ServedDocument:
        """See `KnowledgeService.add`."""
        added = self._base.add_file(
            upload.path, source=upload.source, scope=tenant, metadata=upload.metadata, name=upload.source
        )
        return self._served(added.document)

    def documents(self, tenant: str, limit: int, after: int = 0) -> Sequence[ServedDocument]:
        """See `KnowledgeService.documents`."""
        documents = [
            document for scope in _scopes(tenant) for document in self._base.store.documents(scope, limit, after)
        ]
        return [self._served(document) for document in sorted(documents, key=lambda document: document.id)[:limit]]

    def document(self, id: int, tenant: str) -> ServedDocument:
        """See `KnowledgeService.document`."""
        for document in self.documents(tenant, 1, id - 1):
            if document.document.id == id:
                return document
        raise NotFound(f"The knowledge base '{self.name}' has no document with the id {id}.")

    def delete(self, id: int, tenant: str) -> None:
        """See `KnowledgeService.delete`."""
        if self._base.store.delete(id, tenant):
            return
        source = self.document(id, tenant).document.source
        raise Forbidden(f"'{source}' is shared by all API keys; only `turnwise knowledge delete` can delete it.")

    def _served(self, document: KnowledgeDocument) -> ServedDocument:
        last_passage = document.first_passage + document.num_passages - 1
        try:
            is_searchable = self._base.lexical.cursor.last_passage >= last_passage
        except IndexDamaged:
            is_searchable = False
        return ServedDocument(document, is_searchable)


def _scopes(tenant: str) -> tuple[str, ...]:
    """The scopes that a tenant sees, its own first."""
    return (tenant, SHARED_SCOPE) if tenant else (SHARED_SCOPE,)


def parse_knowledge(values: Sequence[str]) -> dict[str, str]:
    """Names and folders by served name, from NAME or NAME=FOLDER. Raises `InvalidParameter`."""
    bases: dict[str, str] = {}
    for value in values:
        name, separator, folder = value.partition("=")
        if not name or "/" in name or bool(separator) != bool(folder):
            raise InvalidParameter("knowledge", f"--knowledge {value}: must be NAME, or NAME=FOLDER.")
        if len(name) > MAX_NAME_CHARS:
            raise InvalidParameter("knowledge", f"--knowledge {value}: a name has at most {MAX_NAME_CHARS} characters.")
        if name in bases:
            raise InvalidParameter("knowledge", f"Two knowledge bases have the name '{name}'. Name one NAME=FOLDER.")
        bases[name] = folder if "/" in folder or not folder else f"./{folder}"
    return {name: folder or name for name, folder in bases.items()}


@contextmanager
def serve_knowledge_base(name: str, base: str, threads: int | None = None) -> Iterator[ServedKnowledgeBase]:
    """Open a knowledge base and keep its indexes up to date until the block ends.

    Args:
        name: name in requests.
        base: its name in `TURNWISE_HOME/knowledge`, or its folder.
        threads: number of threads of the encoder.

    Raises:
        InvalidParameter: an invalid name.
        NotFound: there is no such knowledge base.
    """
    with open_knowledge_base(base, threads=threads) as opened:
        workers = IndexWorkers(opened)
        workers.start()
        try:
            yield ServedKnowledgeBase(name, opened, getattr(opened.encoder, "name", None))
        finally:
            workers.stop()


_: type[KnowledgeService] = ServedKnowledgeBase  # the type checker compares it with the port
