"""Documents that an API key uploaded to the knowledge bases in TURNWISE_HOME, with their entries in the indexes.

They belong to the key, not to a user of it. Documents without a key are shared by everybody and are not erased.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from turnwise.app.knowledge.knowledge_base import DATABASE, DENSE, LEXICAL
from turnwise.app.knowledge.open_base import base_folder, base_names
from turnwise.core.data_subjects import DataSubject
from turnwise.core.file_lock import LOCK_SECONDS
from turnwise.core.knowledge import KnowledgeDocument, KnowledgeStore
from turnwise.core.stored_conversations import ConversationStore

ORDER = 30
PAGE_DOCUMENTS = 100


def export(subject: DataSubject, store: ConversationStore) -> Any:  # noqa: ARG001
    """Source, metadata and text of each document, by the name of its knowledge base."""
    exported = {}
    for name, knowledge in _stores(subject):
        with closing(knowledge):
            documents = [
                {"source": document.source, "title": document.title, "metadata": dict(document.metadata),
                 "passages": [passage.text for passage in knowledge.document_passages(document.id, document.scope)]}
                for document in _documents(knowledge, str(subject.owner))
            ]  # fmt: skip
        if documents:
            exported[name] = documents
    return exported


def erase(subject: DataSubject, store: ConversationStore) -> Mapping[str, int]:  # noqa: ARG001
    """Delete the documents and rewrite the indexes.

    Raises:
        Unavailable: a server is using the knowledge base.
    """
    deleted = 0
    for name, knowledge in _stores(subject):
        with closing(knowledge):
            scope = str(subject.owner)
            if knowledge.scope_counts(scope) is None:
                continue
            for document in list(_documents(knowledge, scope)):
                deleted += knowledge.delete(document.id, scope)
            # Also without documents: an earlier run may have been interrupted here.
            knowledge.compact()
            _rewrite_indexes(base_folder(name), knowledge)
    return {"documents": deleted}


def _rewrite_indexes(folder: Path, knowledge: KnowledgeStore) -> None:
    """Build the lexical index again, and drop the rows of deleted passages from those of all encoders."""
    from turnwise.retrieval.dense_writer import drop_deleted_rows
    from turnwise.retrieval.lexical_writer import lexical_writer

    if (folder / LEXICAL).exists():
        with lexical_writer(folder / LEXICAL, knowledge, LOCK_SECONDS) as writer:
            writer.rebuild()
    for dense in sorted((folder / DENSE).glob("*")):
        if dense.is_dir() and not dense.name.startswith("."):
            drop_deleted_rows(dense, knowledge, LOCK_SECONDS)


def _stores(subject: DataSubject) -> Iterator[tuple[str, KnowledgeStore]]:
    """The knowledge bases by name, each open; none for a single user and for what was stored without a key."""
    from turnwise.store import open_knowledge_store

    if subject.owner is None or subject.user is not None:
        return
    for name in base_names():
        yield name, open_knowledge_store(f"sqlite:///{base_folder(name) / DATABASE}")


def _documents(knowledge: KnowledgeStore, scope: str) -> Iterator[KnowledgeDocument]:
    after = 0
    while page := knowledge.documents(scope, PAGE_DOCUMENTS, after):
        yield from page
        after = page[-1].id
