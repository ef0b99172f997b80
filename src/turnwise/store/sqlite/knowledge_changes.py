"""Statements that change a knowledge base in SQLite; the caller has the transaction."""

import json
import sqlite3
import time
from collections.abc import Sequence

from turnwise.core.knowledge import AddedDocument, KnowledgeDocument, NewDocument, NewPassage
from turnwise.store.sqlite.knowledge_queries import find_ready

KEPT_DELETIONS = 100_000  # of the log; an index that is further behind compares its passages with those of the store


def is_equal(stored: KnowledgeDocument, document: NewDocument, *, is_described: bool = False) -> bool:
    """Whether a stored document has the bytes and metadata of another one, and the title unless it is not known yet."""
    return (
        stored.sha256 == document.sha256
        and dict(stored.metadata) == dict(document.metadata)
        and (is_described or stored.title == document.title)
    )


def insert_document(connection: sqlite3.Connection, document: NewDocument) -> int:
    """Insert an invisible document, and its scope if that is new. Returns its id."""
    connection.execute(
        "INSERT INTO knowledge_scopes (name, num_documents, num_passages) VALUES (?, 0, 0) ON CONFLICT DO NOTHING",
        (document.scope,),
    )
    cursor = connection.execute(
        "INSERT INTO knowledge_documents"
        " (scope, source, sha256, title, metadata, warnings, state, created, updated, num_passages)"
        " VALUES ((SELECT id FROM knowledge_scopes WHERE name = ?), ?, ?, ?, ?, ?, 'staged', 0, 0, 0)",
        (
            document.scope, document.source, document.sha256, document.title, _json(dict(document.metadata)),
            _json(list(document.warnings)),
        ),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def insert_passages(
    connection: sqlite3.Connection, document_id: int, number: int, passages: Sequence[NewPassage]
) -> None:
    """Insert passages of a document; `number` is the position of the first one."""
    connection.executemany(
        "INSERT INTO knowledge_passages (document, number, text, start, end, page, headings)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (document_id, number + i, p.text, p.start, p.end, p.page, _json(list(p.headings)))
            for i, p in enumerate(passages)
        ],
    )


def publish(
    connection: sqlite3.Connection, document_id: int, document: NewDocument, num_passages: int
) -> AddedDocument:
    """Make a document visible, and remove the one that it replaces."""
    previous = find_ready(connection, document.source, document.scope)
    if previous is not None and is_equal(previous, document):  # another process was faster
        connection.execute("UPDATE knowledge_documents SET state = 'removed' WHERE id = ?", (document_id,))
        return AddedDocument("unchanged", previous)
    if previous is not None:
        remove(connection, previous.id, previous.scope_id, previous.first_passage, previous.num_passages)
    (value,) = connection.execute("SELECT value FROM knowledge_settings WHERE name = 'next_passage'").fetchone()
    first_passage, now = int(value), time.time()
    connection.execute(
        "UPDATE knowledge_settings SET value = ? WHERE name = 'next_passage'", (str(first_passage + num_passages),)
    )
    connection.execute(
        "UPDATE knowledge_documents SET state = 'ready', created = ?, updated = ?, first_passage = ?,"
        " num_passages = ?, title = ?, warnings = ? WHERE id = ?",
        (
            now if previous is None else previous.created, now, first_passage, num_passages, document.title,
            _json(list(document.warnings)), document_id,
        ),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO knowledge_metadata VALUES (?, ?, ?)",
        [(key, value, document_id) for key, value in document.metadata.items()],
    )
    connection.execute(
        "UPDATE knowledge_scopes SET num_documents = num_documents + 1, num_passages = num_passages + ? WHERE name = ?",
        (num_passages, document.scope),
    )
    published = find_ready(connection, document.source, document.scope)
    assert published is not None
    return AddedDocument("added" if previous is None else "replaced", published)


def remove(
    connection: sqlite3.Connection, document_id: int, scope_id: int, first_passage: int, num_passages: int
) -> None:
    """Make a document invisible and log the deletion; the oldest entries of a full log go. Rows are deleted later."""
    connection.execute(
        "DELETE FROM knowledge_metadata WHERE (key, value, document) IN (SELECT m.key, m.value, d.id"
        " FROM knowledge_documents AS d JOIN json_each(d.metadata) AS m WHERE d.id = ?)",
        (document_id,),
    )
    connection.execute("UPDATE knowledge_documents SET state = 'removed' WHERE id = ?", (document_id,))
    connection.execute(
        "INSERT INTO knowledge_deletions (document, first_passage, num_passages) VALUES (?, ?, ?)",
        (document_id, first_passage, num_passages),
    )
    connection.execute(
        "DELETE FROM knowledge_deletions WHERE number <= (SELECT MAX(number) FROM knowledge_deletions) - ?",
        (KEPT_DELETIONS,),
    )
    connection.execute(
        "UPDATE knowledge_scopes SET num_documents = num_documents - 1, num_passages = num_passages - ? WHERE id = ?",
        (num_passages, scope_id),
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
