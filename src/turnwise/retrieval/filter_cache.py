"""Keeps the passages that filters match, so that a search does not read the metadata of all documents again.

Shapes: R ranges of passage ids.
"""

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from turnwise.core.knowledge import KnowledgeStore

MAX_FILTERS = 8  # of half a million documents, a filter takes 8 MB

_Key = tuple[str, frozenset[tuple[str, str]]]


class FilterCache:
    """Ranges of passage ids by scope and filter. Thread-safe.

    Metadata of a document does not change: a changed document has new passages. So only documents that were added since
    the last search are read. Ranges of deleted documents stay; what reads passages from the store leaves them out.

    Args:
        store: the store of the documents.
    """

    def __init__(self, store: KnowledgeStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._entries: dict[_Key, tuple[str, int, NDArray[np.int64]]] = {}  # base, last passage, ranges

    def ranges(self, scope: str, filters: Mapping[str, str]) -> NDArray[np.int64]:
        """First and last passage ids of documents with the metadata, shape `(R, 2)`, ascending.

        The same array as before if no document with the metadata was added.
        """
        key = scope, frozenset(filters.items())
        position = self._store.position()
        with self._lock:
            base, last_passage, ranges_R2 = self._entries.get(key, ("", 0, np.empty((0, 2), np.int64)))
        if base != position.base or last_passage > position.last_passage:  # another store, or an older copy of it
            last_passage, ranges_R2 = 0, np.empty((0, 2), np.int64)
        if not base or last_passage != position.last_passage:
            added_R2 = self._store.matching_ranges(scope, filters, after=last_passage)
            if len(added_R2):
                ranges_R2 = np.concatenate([ranges_R2, added_R2])
            last_passage = max([position.last_passage, *ranges_R2[-1:, 1].tolist()])
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = position.base, last_passage, ranges_R2
            if len(self._entries) > MAX_FILTERS:  # the one that was not used for the longest time
                del self._entries[next(iter(self._entries))]
        return ranges_R2
