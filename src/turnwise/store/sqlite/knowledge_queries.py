"""Queries of a knowledge base in SQLite.

Shapes: R ranges of passage ids.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.core.knowledge import Deletion, KnowledgeDocument, ScopeCounts, StoredPassage, StorePosition

DOCUMENT_COLUMNS = (
    "d.source, d.sha256, d.title, d.metadata, s.name, d.warnings, d.id, d.scope, d.created, d.updated, "
    "d.first_passage, d.num_passages"
)
_DOCUMENTS = "knowledge_documents AS d JOIN knowledge_scopes AS s ON s.id = d.scope"
_PASSAGE_COLUMNS = "p.number, p.text, p.start, p.end, p.headings, p.page"
_PAGE_ROWS = 1000
_MAX_COUNTED = 100_000


class SqliteKnowledgeQueries:
    """The reading methods of the `KnowledgeStore` port.

    Args:
        read: a read transaction, as a context manager.
    """

    def __init__(self, read: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> None:
        self._read = read

    def find_document(self, source: str, scope: str) -> KnowledgeDocument | None:
        """The document of a source in a scope."""
        with self._read() as connection:
            return find_ready(connection, source, scope)

    def documents(self, scope: str, limit: int, after: int = 0) -> list[KnowledgeDocument]:
        """Documents of a scope with ids above `after`, in the order of their ids."""
        query = (
            f"SELECT {DOCUMENT_COLUMNS} FROM {_DOCUMENTS}"  # noqa: S608
            " WHERE d.state = 'ready' AND d.scope = (SELECT id FROM knowledge_scopes WHERE name = ?) AND d.id > ?"
            " ORDER BY d.id LIMIT ?"
        )
        with self._read() as connection:
            return [parse_document(row) for row in connection.execute(query, (scope, after, limit))]

    def scope_counts(self, scope: str) -> ScopeCounts | None:
        """Numbers of a scope; None if it never had a document."""
        query = "SELECT id, name, num_documents, num_passages FROM knowledge_scopes WHERE name = ?"
        with self._read() as connection:
            row = connection.execute(query, (scope,)).fetchone()
        return None if row is None else ScopeCounts(*row)

    def scopes(self) -> list[ScopeCounts]:
        """All scopes, by name."""
        query = "SELECT id, name, num_documents, num_passages FROM knowledge_scopes ORDER BY name"
        with self._read() as connection:
            return [ScopeCounts(*row) for row in connection.execute(query)]

    def position(self) -> StorePosition:
        """How far the store is."""
        with self._read() as connection:
            return read_position(connection)

    def passages_after(self, passage_id: int, limit: int) -> list[StoredPassage]:
        """At most `limit` passages of all scopes with ids above `passage_id`, in the order of their ids."""
        first = passage_id + 1
        start_query = (
            "SELECT COALESCE(MAX(first_passage), 0) FROM knowledge_documents"
            " WHERE state = 'ready' AND first_passage <= ?"
        )
        query = (
            f"SELECT {DOCUMENT_COLUMNS}, {_PASSAGE_COLUMNS} FROM {_DOCUMENTS}"  # noqa: S608
            " JOIN knowledge_passages AS p ON p.document = d.id AND p.number >= ? - d.first_passage"
            " WHERE d.state = 'ready' AND d.first_passage >= ? ORDER BY d.first_passage, p.number LIMIT ?"
        )
        with self._read() as connection:
            (start,) = connection.execute(start_query, (first,)).fetchone()
            return _parse_passages(connection.execute(query, (first, start, limit)))

    def deletions_after(self, number: int, limit: int) -> list[Deletion]:
        """At most `limit` deletions with numbers above `number`, in order."""
        query = (
            "SELECT number, document, first_passage, num_passages FROM knowledge_deletions"
            " WHERE number > ? ORDER BY number LIMIT ?"
        )
        with self._read() as connection:
            return [Deletion(*row) for row in connection.execute(query, (number, limit))]

    def fetch(self, passage_ids: Sequence[int], scope: str, filters: Mapping[str, str]) -> list[StoredPassage]:
        """Those of these passages that exist, belong to the scope and have the metadata, in the order of the ids."""
        query = (
            f"SELECT {DOCUMENT_COLUMNS}, {_PASSAGE_COLUMNS} FROM {_DOCUMENTS}"  # noqa: S608
            " JOIN knowledge_passages AS p ON p.document = d.id AND p.number = ?1 - d.first_passage"
            " WHERE d.id = (SELECT id FROM knowledge_documents WHERE state = 'ready' AND first_passage <= ?1"
            "  ORDER BY first_passage DESC LIMIT 1) AND s.name = ?2"
        )
        passages: list[StoredPassage] = []
        with self._read() as connection:
            for id in passage_ids:
                passages.extend(_parse_passages(connection.execute(query, (id, scope))))
        return [
            passage
            for passage in passages
            if all(passage.document.metadata.get(key) == value for key, value in filters.items())
        ]

    def document_passages(self, document_id: int, scope: str) -> Iterator[StoredPassage]:
        """The passages of a document of a scope, in order; read in pages, none once the document is deleted."""
        query = (
            f"SELECT {DOCUMENT_COLUMNS}, {_PASSAGE_COLUMNS} FROM {_DOCUMENTS}"  # noqa: S608
            " JOIN knowledge_passages AS p ON p.document = d.id AND p.number >= ?"
            " WHERE d.id = ? AND d.state = 'ready' AND s.name = ? ORDER BY p.number LIMIT ?"
        )
        number = 0
        while True:
            with self._read() as connection:
                page = _parse_passages(connection.execute(query, (number, document_id, scope, _PAGE_ROWS)))
            yield from page
            if len(page) < _PAGE_ROWS:
                return
            number += _PAGE_ROWS

    def matching_ranges(self, scope: str, filters: Mapping[str, str], after: int = 0) -> NDArray[np.int64]:
        """First and last passage id of documents with the metadata, shape `(R, 2)`, ascending; see `KnowledgeStore`."""
        columns = "SELECT d.first_passage, d.first_passage + d.num_passages - 1 FROM"
        ready = (
            "d.state = 'ready' AND d.first_passage > ? AND d.scope = (SELECT id FROM knowledge_scopes WHERE name = ?)"
        )
        has_property = (
            " AND EXISTS (SELECT 1 FROM knowledge_metadata AS m WHERE (m.key, m.value, m.document) = (?, ?, d.id))"
        )
        with self._read() as connection:
            properties = _rarest_first(connection, filters)
            if after or not properties:  # few documents, or all
                tables, bound = "knowledge_documents AS d WHERE", []
            else:
                # CROSS JOIN begins with the rarest property; SQLite would begin with all documents.
                tables = (
                    "knowledge_metadata AS p CROSS JOIN knowledge_documents AS d ON d.id = p.document"
                    " WHERE p.key = ? AND p.value = ? AND"
                )
                bound = list(properties.pop(0))
            query = f"{columns} {tables} {ready}{has_property * len(properties)}"
            rows = connection.execute(query, [*bound, after, scope, *chain.from_iterable(properties)]).fetchall()
        ranges_R2 = np.array(rows, dtype=np.int64).reshape(-1, 2)
        sorted_R2: NDArray[np.int64] = ranges_R2[np.argsort(ranges_R2[:, 0])]
        return sorted_R2

    def setting(self, name: str) -> str | None:
        """A stored setting; None if it is not set."""
        with self._read() as connection:
            row = connection.execute("SELECT value FROM knowledge_settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def problems(self) -> list[str]:
        """Check the file and the counts; sentences about what is damaged."""
        counts = (
            "SELECT s.name, s.num_documents, s.num_passages, COUNT(d.id), COALESCE(SUM(d.num_passages), 0)"
            " FROM knowledge_scopes AS s LEFT JOIN knowledge_documents AS d ON d.scope = s.id AND d.state = 'ready'"
            " GROUP BY s.id"
        )
        passages = (
            "SELECT d.source FROM knowledge_documents AS d WHERE d.state = 'ready' AND d.num_passages !="
            " (SELECT COUNT(*) FROM knowledge_passages AS p WHERE p.document = d.id) LIMIT 20"
        )
        with self._read() as connection:
            checks = [str(row[0]) for row in connection.execute("PRAGMA quick_check(20)")]
            problems = [f"The file is damaged: {line}." for line in checks if line != "ok"]
            for name, num_documents, num_passages, documents, sum_passages in connection.execute(counts):
                if (num_documents, num_passages) != (documents, sum_passages):
                    problems.append(f"The counts of the scope '{name}' are wrong.")
            problems += [f"Passages of {source} are missing." for (source,) in connection.execute(passages)]
        return problems


def _rarest_first(connection: sqlite3.Connection, filters: Mapping[str, str]) -> list[tuple[str, str]]:
    """Properties by the number of documents that have them; those of many documents count as equal."""
    if len(filters) < 2:
        return list(filters.items())
    query = "SELECT COUNT(*) FROM (SELECT 1 FROM knowledge_metadata WHERE key = ? AND value = ? LIMIT ?)"
    counts = {pair: connection.execute(query, (*pair, _MAX_COUNTED)).fetchone()[0] for pair in filters.items()}
    return sorted(counts, key=counts.__getitem__)


def find_ready(connection: sqlite3.Connection, source: str, scope: str) -> KnowledgeDocument | None:
    """The document of a source in a scope."""
    query = (
        f"SELECT {DOCUMENT_COLUMNS} FROM {_DOCUMENTS}"  # noqa: S608
        " WHERE d.state = 'ready' AND d.scope = (SELECT id FROM knowledge_scopes WHERE name = ?) AND d.source = ?"
    )
    row = connection.execute(query, (scope, source)).fetchone()
    return None if row is None else parse_document(row)


def read_position(connection: sqlite3.Connection) -> StorePosition:
    """How far the store is."""
    settings = dict(
        connection.execute("SELECT name, value FROM knowledge_settings WHERE name IN ('base', 'next_passage')")
    )
    # Two queries, because SQLite looks up the smallest and the largest key at once only if it is asked for one of them.
    (first,) = connection.execute("SELECT COALESCE(MIN(number), 1) FROM knowledge_deletions").fetchone()
    (last_deletion,) = connection.execute("SELECT COALESCE(MAX(number), 0) FROM knowledge_deletions").fetchone()
    return StorePosition(settings["base"], int(settings["next_passage"]) - 1, last_deletion, first - 1)


def parse_document(row: Sequence[Any]) -> KnowledgeDocument:
    """A document of the values of `DOCUMENT_COLUMNS`."""
    source, sha256, title, metadata, scope, warnings, *numbers = row
    return KnowledgeDocument(source, sha256, title, json.loads(metadata), scope, tuple(json.loads(warnings)), *numbers)


def _parse_passages(rows: sqlite3.Cursor) -> list[StoredPassage]:
    passages: list[StoredPassage] = []
    document: KnowledgeDocument | None = None
    for row in rows:
        if document is None or document.id != row[6]:
            document = parse_document(row[:12])
        number, text, start, end, headings, page = row[12:]
        passages.append(
            StoredPassage(
                document.first_passage + number, document, text, start, end, tuple(json.loads(headings)), page
            )
        )
    return passages
