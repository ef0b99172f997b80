"""Filters over many documents (`knowledge.py`): half, a hundredth and one of them, and two properties at once."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from knowledge_vectors import NUM_QUERIES, VariedVectors
from turnwise.core.knowledge import NewDocument, NewPassage
from turnwise.retrieval.dense_index import DenseIndex
from turnwise.retrieval.filter_cache import FilterCache
from turnwise.store import open_knowledge_store

FILTERS = (
    {"language": "en"}, {"year": "7"}, {"language": "en", "year": "7"}, {"language": "en", "id": "5"},
)  # fmt: skip


def measure_filters(path: Path, dense: DenseIndex, vectors: VariedVectors) -> dict[str, Any]:
    """Milliseconds (of the wall clock and of the processors) of the first search with a filter, and of later ones."""
    if not path.exists():
        write_documents(path, vectors.count)
    store = open_knowledge_store(f"sqlite:///{path}")
    cache = FilterCache(store)
    dense.rows()
    figures: dict[str, Any] = {}
    for filters in FILTERS:
        times = []
        for number in range(20):
            start, cpu = time.perf_counter(), time.process_time()
            ranges_R2 = cache.ranges("", filters)
            dense.search(vectors.queries_QD[number % NUM_QUERIES], 10, 1, ranges_R2)
            times.append([1000 * (time.perf_counter() - start), 1000 * (time.process_time() - cpu)])
        later = sorted(times[1:])
        name = " and ".join(f"{key}={value}" for key, value in filters.items())
        figures[name] = {"documents": len(ranges_R2), "first": times[0], "later": later[len(later) // 2]}
    store.close()
    return figures


def write_documents(path: Path, count: int) -> None:
    """A store with documents of one passage each, written in one transaction: a commit for each takes too long."""
    store = open_knowledge_store(f"sqlite:///{path}")
    store.add(NewDocument("1", "0" * 64, metadata=metadata(1)), [NewPassage("text 1", 0, 6)])
    store.close()
    numbers = range(2, count + 1)
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO knowledge_documents (id, scope, source, sha256, title, metadata, warnings, state, created,"
            " updated, first_passage, num_passages) VALUES (?1, 1, ?1, ?2, '', ?3, '[]', 'ready', 0, 0, ?1, 1)",
            ((number, f"{number:064d}", json.dumps(metadata(number))) for number in numbers),
        )
        connection.executemany(
            "INSERT INTO knowledge_metadata VALUES (?, ?, ?)",
            ((key, value, number) for number in numbers for key, value in metadata(number).items()),
        )
        connection.executemany(
            "INSERT INTO knowledge_passages (document, number, text, start, end, headings)"
            " VALUES (?, 0, ?, 0, 6, '[]')",
            ((number, f"text {number}") for number in numbers),
        )
        connection.execute("UPDATE knowledge_settings SET value = ? WHERE name = 'next_passage'", (str(count + 1),))
        connection.execute("UPDATE knowledge_scopes SET num_documents = ?1, num_passages = ?1", (count,))
    connection.close()


def metadata(number: int) -> dict[str, str]:
    """Properties of a document."""
    return {"language": "en" if number % 2 else "de", "year": str(number % 100), "id": str(number)}
