"""A knowledge base: documents in a store, and the indexes that are derived from it.

The folder of a knowledge base::

    knowledge.db      the store
    lexical/          words
    dense/HASH/       vectors of one encoder
"""

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from turnwise.app.knowledge.documents import hash_file, open_document
from turnwise.core.errors import Unavailable
from turnwise.core.file_lock import LOCK_SECONDS
from turnwise.core.knowledge import AddedDocument, KnowledgeStore, NewDocument, TextEncoder
from turnwise.retrieval.dense_format import check_rows
from turnwise.retrieval.dense_index import DenseIndex
from turnwise.retrieval.dense_writer import dense_writer
from turnwise.retrieval.hybrid_index import DenseSearch, HybridIndex
from turnwise.retrieval.index_cursor import IndexDamaged
from turnwise.retrieval.lexical_index import LexicalIndex
from turnwise.retrieval.lexical_writer import OnProgress, lexical_writer
from turnwise.retrieval.parser_process import ParserProcess
from turnwise.retrieval.tantivy_files import check_files

DATABASE, LEXICAL, DENSE = "knowledge.db", "lexical", "dense"
FINGERPRINT_CHARS = 16
POLL_SECONDS = 0.05
EMBED_PASSAGES = 256  # of a batch, which is saved when it is complete
EMBED_SECONDS = 1.0  # waiting for another process that embeds


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """How far the indexes are.

    Attributes:
        num_documents: number of documents of all scopes.
        num_passages: number of passages of all scopes.
        num_vectors: number of passages with a vector of the encoder.
        is_searchable: the lexical index has all changes.
    """

    num_documents: int
    num_passages: int
    num_vectors: int
    is_searchable: bool


class KnowledgeBase:
    """An open knowledge base. Thread-safe, except that one thread at a time may update an index.

    Args:
        folder: its folder.
        store: its open store.
        encoder: the encoder of its vectors; None: lexical search only.
        notice: why there is no encoder although one was used before.
    """

    def __init__(
        self, folder: Path, store: KnowledgeStore, encoder: TextEncoder | None = None, notice: str | None = None
    ) -> None:
        self.folder, self.store, self.encoder, self.notice = folder, store, encoder, notice
        self.lexical = LexicalIndex(folder / LEXICAL)
        self.dense: DenseIndex | None = None
        if encoder is not None:
            self.dense = DenseIndex(self.dense_folder, encoder.fingerprint)
            self.index = HybridIndex(store, self.lexical, DenseSearch(self.dense, encoder))
        else:
            self.index = HybridIndex(store, self.lexical)

    @property
    def lexical_folder(self) -> Path:
        """Folder of the lexical index."""
        return self.folder / LEXICAL

    @property
    def dense_folder(self) -> Path:
        """Folder of the encoder's vectors. Another encoder has another one."""
        assert self.encoder is not None
        return self.folder / DENSE / self.encoder.fingerprint[:FINGERPRINT_CHARS]

    def add_file(
        self,
        path: Path,
        *,
        source: str | None = None,
        scope: str = "",
        metadata: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> AddedDocument:
        """Add a file, or replace its earlier version. The indexes are not updated.

        Args:
            path: the file.
            source: name of the document. Default: the path.
            scope: the tenant that it belongs to.
            metadata: properties that searches can filter by.
            name: file name of the document, if `path` has another; parsers look at its suffix.

        Raises:
            InvalidData: the file cannot be read, or has no text.
        """
        document = NewDocument(source or path.as_posix(), hash_file(path), metadata=metadata or {}, scope=scope)
        with open_document(path, self.parsers, name) as opened:
            return self.store.add(document, opened.passages, opened.describe)

    @cached_property
    def parsers(self) -> ParserProcess:
        """The process that parses documents. It starts with the first one."""
        return ParserProcess()

    def update_lexical(self, on_progress: OnProgress | None = None, seconds: float = LOCK_SECONDS) -> None:
        """Bring the lexical index up to date, or wait until the process that does it has finished.

        Raises:
            Unavailable: the other process took longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not self.is_searchable():
            try:
                with lexical_writer(self.lexical_folder, self.store, 0.0) as writer:
                    writer.update(on_progress)
                    if writer.needs_compaction():
                        writer.rebuild()
                return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)

    def is_searchable(self) -> bool:
        """Whether the lexical index has all changes."""
        try:
            return self.lexical.cursor.is_at(self.store.position())
        except IndexDamaged:
            return False

    def embed(self, on_progress: OnProgress | None = None, is_stopped: Callable[[], bool] = lambda: False) -> int:
        """Embed the passages that have no vector. Finished batches are kept when it is stopped or killed.

        Returns:
            The number of embedded passages.

        Raises:
            Unavailable: another process is embedding.
        """
        assert self.encoder is not None, "embedding needs an encoder"
        with dense_writer(self.dense_folder, self.encoder, EMBED_SECONDS) as writer:
            status = self.status()
            total, done = status.num_passages - status.num_vectors, 0
            while not is_stopped() and (count := writer.update(self.store, self.encoder, EMBED_PASSAGES)):
                done += count
                if on_progress is not None:
                    on_progress(done, max(total, done))
        return done

    def status(self) -> IndexStatus:
        """How far the indexes are."""
        scopes, num_vectors = self.store.scopes(), 0
        if self.dense is not None:
            with suppress(IndexDamaged):
                num_vectors = sum(self.dense.count(scope.id) for scope in scopes)
        return IndexStatus(
            sum(scope.num_documents for scope in scopes),
            sum(scope.num_passages for scope in scopes),
            num_vectors,
            self.is_searchable(),
        )

    def rebuild(self, on_progress: OnProgress | None = None, *, vectors: bool = False) -> None:
        """Build the lexical index again, and delete the vectors of all encoders if `vectors` is set.

        Raises:
            Unavailable: another process writes the index.
        """
        with lexical_writer(self.lexical_folder, self.store, LOCK_SECONDS) as writer:
            writer.rebuild(on_progress)
        if vectors:
            shutil.rmtree(self.folder / DENSE, ignore_errors=True)

    def compact(self) -> None:
        """Free the space of deleted documents in the store and in the indexes. Raises `Unavailable`."""
        self.store.compact()
        with lexical_writer(self.lexical_folder, self.store, LOCK_SECONDS) as writer:
            writer.rebuild()
        if self.encoder is not None and self.dense_folder.exists():
            with dense_writer(self.dense_folder, self.encoder, EMBED_SECONDS) as dense:
                dense.compact()

    def problems(self) -> list[str]:
        """Check the store and the indexes; sentences about what is damaged or missing."""
        problems = self.store.problems()
        try:
            check_files(self.lexical_folder, has_checksums=True)
            if not self.is_searchable():
                problems.append("The lexical index lacks changes; the next command that changes something adds them.")
        except IndexDamaged as error:
            problems.append(f"The lexical index has to be rebuilt: {error}")
        if self.dense is not None and self.dense_folder.exists():
            try:
                rows = self.dense.rows()
                check_rows(self.dense_folder, rows.header, rows.state)
            except IndexDamaged as error:
                problems.append(f"The vectors have to be rebuilt: {error}")
        return problems

    def close(self) -> None:
        """Close the store, and end the parser."""
        if "parsers" in vars(self):
            self.parsers.close()
        self.store.close()
