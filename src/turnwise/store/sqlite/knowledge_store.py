"""A knowledge base in a SQLite file.

A document with more than `BATCH_PASSAGES` passages is staged: its passages are written in several transactions, and it
becomes visible in the last one, which assigns their ids. What a killed process has staged is removed when the store is
opened again.
"""

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from turnwise.core.errors import InvalidData, TurnwiseError, Unavailable
from turnwise.core.file_lock import LOCK_SECONDS, FileLock, LockTimeout
from turnwise.core.knowledge import AddedDocument, DocumentDescription, KnowledgeStore, NewDocument, NewPassage
from turnwise.store.sqlite.database import SqliteDatabase
from turnwise.store.sqlite.knowledge_changes import insert_document, insert_passages, is_equal, publish, remove
from turnwise.store.sqlite.knowledge_queries import SqliteKnowledgeQueries
from turnwise.store.sqlite.read_connections import ReadConnections

BATCH_PASSAGES = 1000  # of a transaction: other writers wait for less than a second
NAME = "knowledge base"


class SqliteKnowledgeStore(SqliteKnowledgeQueries):
    """The `KnowledgeStore` port on SQLite. Thread-safe, and shared by processes."""

    def __init__(self, path: Path) -> None:
        """Open `path`. A missing file is created. Raises `UserError` if the file is not a store."""
        self._database = SqliteDatabase(path, NAME, "--base")
        self._connections = ReadConnections(path, NAME)
        super().__init__(self._connections.transaction)
        self._staging_lock = threading.Lock()
        self._staging_file = FileLock(path.with_name(f"{path.name}.staging"))
        try:
            self._initialize()
            self._remove_staged()
            self._purge_removed()
        except BaseException:
            self.close()
            raise

    def add(
        self,
        document: NewDocument,
        passages: Iterable[NewPassage],
        describe: Callable[[], DocumentDescription] | None = None,
    ) -> AddedDocument:
        """Add or replace a document; see `KnowledgeStore.add`."""
        stored = self.find_document(document.source, document.scope)
        if stored is not None and is_equal(stored, document, is_described=describe is not None):
            return AddedDocument("unchanged", stored)
        iterator = iter(passages)
        batch = list(islice(iterator, BATCH_PASSAGES))
        if not batch:
            raise InvalidData(f"{document.source} has no text that can be searched.")
        if len(batch) < BATCH_PASSAGES:
            document = _described(document, describe)
            with self._database.write_transaction() as connection:
                document_id = insert_document(connection, document)
                insert_passages(connection, document_id, 0, batch)
                added = publish(connection, document_id, document, len(batch))
        else:
            with self._staging():
                added = self._add_in_batches(document, batch, iterator, describe)
        if added.change != "added":
            self._purge_quietly()
        return added

    def _add_in_batches(
        self,
        document: NewDocument,
        batch: list[NewPassage],
        iterator: Iterator[NewPassage],
        describe: Callable[[], DocumentDescription] | None,
    ) -> AddedDocument:
        document_id, num_passages = 0, 0
        try:
            while batch:
                with self._database.write_transaction() as connection:
                    if not document_id:
                        document_id = insert_document(connection, document)
                    insert_passages(connection, document_id, num_passages, batch)
                num_passages += len(batch)
                batch = list(islice(iterator, BATCH_PASSAGES))
            document = _described(document, describe)
            with self._database.write_transaction() as connection:
                return publish(connection, document_id, document, num_passages)
        except BaseException:
            with suppress(TurnwiseError):  # it is invisible, and removed at the next start
                self._retire_staged(document_id)
                self._purge_removed()
            raise

    def delete(self, document_id: int, scope: str) -> bool:
        """Delete a document of a scope; no search returns its passages afterwards. False: there is none."""
        query = (
            "SELECT d.scope, d.first_passage, d.num_passages FROM knowledge_documents AS d"
            " JOIN knowledge_scopes AS s ON s.id = d.scope WHERE d.id = ? AND d.state = 'ready' AND s.name = ?"
        )
        with self._database.write_transaction() as connection:
            row = connection.execute(query, (document_id, scope)).fetchone()
            if row is None:
                return False
            remove(connection, document_id, *row)
        self._purge_quietly()
        return True

    def save_setting(self, name: str, value: str) -> None:
        """Store a setting."""
        with self._database.write_transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO knowledge_settings VALUES (?, ?)", (name, value))

    def compact(self) -> None:
        """Return the space of deleted documents to the file system; see `SqliteDatabase.vacuum`."""
        self._purge_removed()
        self._database.vacuum()

    def close(self) -> None:
        """Close the store."""
        self._connections.close()
        self._database.close()
        self._staging_file.close()

    def _initialize(self) -> None:
        with self._database.write_transaction() as connection:
            connection.executemany(
                "INSERT INTO knowledge_settings VALUES (?, ?) ON CONFLICT DO NOTHING",
                [("base", uuid.uuid4().hex), ("next_passage", "1")],
            )

    @contextmanager
    def _staging(self) -> Iterator[None]:
        """Hold the lock that tells other processes that staged passages have an owner."""
        message = f"Another large document has been written to the {NAME} for more than {LOCK_SECONDS:g} seconds."
        if not self._staging_lock.acquire(timeout=LOCK_SECONDS):
            raise Unavailable(f"{message} Nothing was changed; try again soon.")
        try:
            try:
                self._staging_file.acquire()
            except LockTimeout as error:
                raise Unavailable(f"{message} Nothing was changed; try again soon.") from error
            try:
                yield
            finally:
                self._staging_file.release()
        finally:
            self._staging_lock.release()

    def _remove_staged(self) -> None:
        """Remove staged documents whose process has ended."""
        try:
            self._staging_file.acquire(0.0)
        except LockTimeout:  # the owner lives
            return
        try:
            self._retire_staged()
        finally:
            self._staging_file.release()

    def _retire_staged(self, document_id: int | None = None) -> None:
        with self._database.write_transaction() as connection:
            connection.execute(
                "UPDATE knowledge_documents SET state = 'removed' WHERE id IN"
                " (SELECT id FROM knowledge_documents WHERE state = 'staged' AND COALESCE(?, id) = id)",
                (document_id,),
            )

    def _purge_quietly(self) -> None:
        """As `_purge_removed`; rows that cannot be deleted now are deleted at the next start."""
        with suppress(TurnwiseError):
            self._purge_removed()

    def _purge_removed(self) -> None:
        """Delete the rows of documents that are no longer visible, in transactions of limited size."""
        passages = (
            "DELETE FROM knowledge_passages WHERE rowid IN"
            " (SELECT rowid FROM knowledge_passages WHERE document = ? LIMIT ?)"
        )
        while True:
            with self._read() as connection:
                row = connection.execute(
                    "SELECT id FROM knowledge_documents WHERE state = 'removed' ORDER BY id LIMIT 1"
                ).fetchone()
            if row is None:
                return
            with self._database.write_transaction() as connection:
                deleted = connection.execute(passages, (row[0], BATCH_PASSAGES)).rowcount
                if deleted < BATCH_PASSAGES:
                    connection.execute("DELETE FROM knowledge_documents WHERE id = ? AND state = 'removed'", row)


def _described(document: NewDocument, describe: Callable[[], DocumentDescription] | None) -> NewDocument:
    """The document with what is known after its last passage."""
    if describe is None:
        return document
    description = describe()
    return replace(document, title=description.title, warnings=description.warnings)


_: type[KnowledgeStore] = SqliteKnowledgeStore  # the type checker compares it with the port
