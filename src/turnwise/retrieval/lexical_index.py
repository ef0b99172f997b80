"""Lexical search in an index on disk: BM25 with tantivy.

A query is only words: no character of it is an operator. Readers see what a writer has committed, also in another
process (`lexical_writer.py`).
"""

import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from turnwise.core.knowledge import ScopeCounts
from turnwise.retrieval.index_cursor import IndexCursor, IndexDamaged
from turnwise.retrieval.lexical_schema import (
    CURSOR,
    CURSOR_KEY,
    PASSAGE,
    PROPERTIES,
    TERMS,
    VERSION,
    filter_terms,
    import_tantivy,
    schema,
    scoped_term,
)
from turnwise.retrieval.query_terms import weighted_terms
from turnwise.retrieval.ranking import Ranking
from turnwise.retrieval.tantivy_files import META, check_files

if TYPE_CHECKING:
    import tantivy

MAX_QUERY_CHARS = 20_000
MAX_QUERY_TERMS = 64  # those with the largest weights


class LexicalIndex:
    """An index that is read. Thread-safe.

    Args:
        folder: the index. It is opened at the first search.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._index: tantivy.Index | None = None
        self._version: tuple[int, ...] = ()
        self._cursor = IndexCursor()

    @property
    def cursor(self) -> IndexCursor:
        """What the index contains. Raises `IndexDamaged` if it cannot be used."""
        self._searcher()
        return self._cursor

    def search(self, query: str, k: int, scope: ScopeCounts, filters: Mapping[str, str]) -> Ranking:
        """The `k` best passages of a scope that share a word with the query and have the metadata.

        The ids may be those of passages that the store no longer has.

        Raises:
            IndexDamaged: the index cannot be used.
        """
        terms = weighted_terms(query[:MAX_QUERY_CHARS])
        if not terms or k < 1:
            return Ranking.empty()
        searcher = self._searcher()
        try:
            parsed = _build_query(searcher, terms, scope, filters)
            if parsed is None:
                return Ranking.empty()
            hits = searcher.search(parsed, k, count=False).hits
            ids = searcher.fast_field_values(PASSAGE, [address for _, address in hits])
        except BaseException as error:
            raise _translate(error, self._folder) from error
        return Ranking.of(np.array(ids, dtype=np.int64), np.array([score for score, _ in hits], dtype=np.float64))

    def _searcher(self) -> "tantivy.Searcher":
        """A searcher of the last commit."""
        with self._lock:
            version = self._read_version()
            if self._index is None or version != self._version:
                try:
                    self._open()
                except BaseException as error:
                    self._index = None
                    raise _translate(error, self._folder) from error
                self._version = version
            assert self._index is not None
            return self._index.searcher()

    def _open(self) -> None:
        is_first = self._index is None
        check_files(self._folder, has_checksums=is_first)  # later files have just been written
        if self._index is None:
            self._index = import_tantivy().Index.open(str(self._folder))
        else:
            self._index.reload()
        self._cursor = read_cursor(self._index.searcher())
        if self._cursor.version != VERSION:
            raise IndexDamaged(f"The lexical index {self._folder} has another version.")

    def _read_version(self) -> tuple[int, ...]:
        try:
            status = (self._folder / META).stat()
        except OSError as error:
            raise IndexDamaged(f"There is no lexical index in {self._folder}.") from error
        return status.st_ino, status.st_mtime_ns, status.st_size


def read_cursor(searcher: "tantivy.Searcher") -> IndexCursor:
    """The position that was committed with the entries. Raises `IndexDamaged` if there is none."""
    query = import_tantivy().Query.term_query(schema(), CURSOR, CURSOR_KEY, index_option="basic")
    hits = searcher.search(query, 1, count=False).hits
    if not hits:
        raise IndexDamaged("The lexical index has no position.")
    return IndexCursor.from_json(searcher.doc(hits[0][1]).get_all(CURSOR)[-1])


def _build_query(
    searcher: "tantivy.Searcher", terms: Mapping[str, float], scope: ScopeCounts, filters: Mapping[str, str]
) -> Any:
    """A disjunction of the terms, weighted by their frequency in the scope; None if no passage has one of them.

    tantivy's inverse document frequency counts the passages of all scopes. A word that all passages of a small scope
    have would weigh almost as much as a rare one, so its weight is that of the scope, times that of `terms`.
    """
    module = import_tantivy()
    weights: list[tuple[float, float, str]] = []
    num_entries = searcher.num_docs
    for term, weight in terms.items():
        entry = scoped_term(scope.id, term)
        frequency = searcher.doc_freq(TERMS, entry)
        if frequency:
            idf = _inverse_frequency(frequency, scope.num_passages)
            weights.append((weight * idf, weight * idf / _inverse_frequency(frequency, num_entries), entry))
    if not weights:
        return None
    weights.sort(reverse=True)
    should, must = module.Occur.Should, module.Occur.Must
    words = module.Query.boolean_query(
        [
            (
                should,
                module.Query.boost_query(module.Query.term_query(schema(), TERMS, entry, index_option="freq"), boost),
            )
            for _, boost, entry in weights[:MAX_QUERY_TERMS]
        ]
    )
    if not filters:
        return words
    properties = [
        (must, module.Query.const_score_query(module.Query.term_query(schema(), PROPERTIES, value, "basic"), 0.0))
        for value in filter_terms(scope.id, filters)
    ]
    return module.Query.boolean_query([(must, words), *properties])


def _inverse_frequency(frequency: int, num_passages: int) -> float:
    """Robertson's inverse document frequency, above 0; deleted passages may still be counted."""
    num_passages = max(num_passages, frequency)
    return math.log(1 + (num_passages - frequency + 0.5) / (frequency + 0.5))


def _translate(error: BaseException, folder: Path) -> BaseException:
    """tantivy raises `ValueError`, and a panic that is no `Exception`, for damaged files."""
    if isinstance(error, ValueError | OSError) or type(error).__name__ == "PanicException":
        return IndexDamaged(f"The lexical index {folder} cannot be read: {str(error)[:200]}")
    return error
