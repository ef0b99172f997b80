"""Brings a lexical index up to date with the store. One process at a time may do it."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from turnwise.core.errors import SaveFailed
from turnwise.core.files import atomic_directory, remove_remains
from turnwise.core.knowledge import KnowledgeStore, StorePosition
from turnwise.retrieval.index_cursor import IndexCursor, IndexDamaged
from turnwise.retrieval.index_lock import lock_index
from turnwise.retrieval.lexical_index import read_cursor
from turnwise.retrieval.lexical_schema import (
    CURSOR,
    CURSOR_KEY,
    DOCUMENT,
    TOKENIZER,
    VERSION,
    cursor_entry,
    import_tantivy,
    passage_entry,
    schema,
)
from turnwise.retrieval.tantivy_files import check_files, count_deleted, remove_uncommitted_deletions

if TYPE_CHECKING:
    import tantivy

HEAP_BYTES = 64 * 2**20  # of entries in memory before a segment is written
READ_PASSAGES = 1000
COMMIT_PASSAGES = 50_000
READ_DELETIONS = 10_000
MIN_COMPACTED = 1000  # entries; a smaller index is not worth the work
MAX_DELETED_SHARE = 1 / 3

OnProgress = Callable[[int, int], None]  # numbers of indexed passages and of all


class LexicalWriter:
    """Writes the index in a folder. Not thread-safe.

    Args:
        folder: the index. It is created if it is missing, and replaced if it is damaged.
        store: the store that the index follows.
    """

    def __init__(self, folder: Path, store: KnowledgeStore) -> None:
        self._folder, self._store = folder, store
        self._writer: tantivy.IndexWriter | None = None
        self._cursor = IndexCursor()

    def update(self, on_progress: OnProgress | None = None) -> bool:
        """Add what the store has, and remove what it no longer has. Returns whether anything changed.

        Raises:
            SaveFailed: the index could not be written. What was committed before is unchanged.
        """
        position = self._store.position()
        if self._writer is None:
            self._open(position, on_progress)
        elif not self._cursor.follows(position) or self._cursor.has_missed(position):
            self.rebuild(on_progress)
        if self._cursor.is_at(position):
            return False
        assert self._writer is not None
        self._cursor = _follow(self._writer, self._store, self._cursor, on_progress)
        return True

    def rebuild(self, on_progress: OnProgress | None = None) -> None:
        """Build the index again, in another folder that then replaces it. Searches go on in the old one."""
        self.close()
        self._folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_directory(self._folder) as temporary, _reported(self._folder):
            index = import_tantivy().Index(schema(), path=str(temporary), reuse=False)
            writer = _open_writer(index)
            cursor = IndexCursor(self._store.position().base, version=VERSION)
            _follow(writer, self._store, cursor, on_progress)
            writer.wait_merging_threads()
        self._attach()

    def needs_compaction(self) -> bool:
        """Whether a third of the entries are deleted. tantivy would keep them until their segment is merged."""
        total, deleted = count_deleted(self._folder)
        return total >= MIN_COMPACTED and deleted > MAX_DELETED_SHARE * total

    def close(self) -> None:
        """Wait for background work and release the index."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with _reported(self._folder):
                writer.wait_merging_threads()

    def _open(self, position: StorePosition, on_progress: OnProgress | None) -> None:
        try:
            check_files(self._folder, has_checksums=True)
            self._attach()
        except IndexDamaged:
            self.rebuild(on_progress)
        is_usable = self._cursor.follows(position) and not self._cursor.has_missed(position)
        if self._cursor.version != VERSION or not is_usable:
            self.rebuild(on_progress)

    def _attach(self) -> None:
        remove_uncommitted_deletions(self._folder)
        with _reported(self._folder):
            index = import_tantivy().Index.open(str(self._folder))
            self._cursor = read_cursor(index.searcher())
            self._writer = _open_writer(index)


@contextmanager
def lexical_writer(folder: Path, store: KnowledgeStore, seconds: float) -> Iterator[LexicalWriter]:
    """Lock an index and yield its writer. Raises `Unavailable` if another process has it for longer than `seconds`."""
    with lock_index(folder, seconds, "Another process is writing the lexical index."):
        remove_remains(folder)
        with closing(LexicalWriter(folder, store)) as writer:
            yield writer


def _open_writer(index: "tantivy.Index") -> "tantivy.IndexWriter":
    module = import_tantivy()
    index.register_tokenizer(TOKENIZER, module.TextAnalyzerBuilder(module.Tokenizer.whitespace()).build())
    return index.writer(heap_size=HEAP_BYTES, num_threads=1)


def _follow(
    writer: "tantivy.IndexWriter", store: KnowledgeStore, cursor: IndexCursor, on_progress: OnProgress | None
) -> IndexCursor:
    """Apply all changes after `cursor`, in commits that contain the new position."""
    with _reported(None):
        while True:
            position = store.position()
            last_passage, last_deletion = cursor.last_passage, cursor.last_deletion
            while deletions := store.deletions_after(last_deletion, READ_DELETIONS):
                for deletion in deletions:
                    writer.delete_documents_by_term(DOCUMENT, str(deletion.document))
                last_deletion = deletions[-1].number
            num_added = 0
            while num_added < COMMIT_PASSAGES:
                passages = store.passages_after(last_passage, READ_PASSAGES)
                if not passages:
                    last_passage = max(last_passage, position.last_passage)
                    break
                for passage in passages:
                    writer.add_document(passage_entry(passage))
                last_passage, num_added = passages[-1].id, num_added + len(passages)
                if on_progress is not None:
                    on_progress(last_passage, max(last_passage, position.last_passage))
            cursor = IndexCursor(position.base, last_passage, last_deletion, VERSION)
            writer.delete_documents_by_term(CURSOR, CURSOR_KEY)
            writer.add_document(cursor_entry(cursor))
            writer.commit()
            if last_passage >= position.last_passage:
                return cursor


@contextmanager
def _reported(folder: Path | None) -> Iterator[None]:
    """tantivy's errors as `SaveFailed`."""
    try:
        yield
    except ValueError as error:
        where = "" if folder is None else f" {folder}"
        raise SaveFailed(f"The lexical index{where} could not be written: {str(error)[:200]}") from error
