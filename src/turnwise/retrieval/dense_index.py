"""Dense search: nearest vectors by cosine, in two stages (Yamada et al. 2021; quantized retrieval of Hugging Face).

The sign bits of all rows are compared with those of the query, and the best candidates are scored by their 8-bit rows
and the exact query. The result is deterministic: a score is a sum of integers, which 64-bit floating-point numbers hold
exactly in any order of the summands.

Shapes: N rows, D dimensions, K passages, R ranges of passage ids.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.retrieval.dense_format import (
    MEAN_ROWS,
    STATE,
    DenseHeader,
    DenseState,
    check_rows,
    map_rows,
    read_header,
    read_state,
    sign_bits,
)
from turnwise.retrieval.hamming_scan import nearest_rows
from turnwise.retrieval.index_cursor import IndexCursor, IndexDamaged
from turnwise.retrieval.ranking import Ranking
from turnwise.retrieval.rotation import rotate

MIN_CANDIDATES = 512
ROWS_PER_CANDIDATE = 500  # recall falls slowly with the number of rows; measured in benchmarks/knowledge.py
MAX_CACHED_SCOPES = MAX_CACHED_FILTERS = 8
QUERY_UNIT = 2**20  # the query is rounded to multiples of its inverse, far below the error of the rows


@dataclass(frozen=True, slots=True)
class DenseRows:
    """The rows of one state of the index, mapped into memory."""

    header: DenseHeader
    state: DenseState
    arrays: dict[str, NDArray[Any]]
    excluded: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    filtered: dict[tuple[int, int], tuple[NDArray[np.int64], NDArray[np.bool_]]] = field(default_factory=dict)

    @property
    def ids_N(self) -> NDArray[np.int64]:
        """Passage ids, ascending."""
        return self.arrays["ids.i64"]

    def excluded_rows(self, scope_id: int) -> NDArray[np.bool_]:
        """True for rows of deleted passages and of other scopes, shape `(N,)`."""
        if (is_excluded_N := self.excluded.get(scope_id)) is None:
            is_excluded_N = ~self.state.is_alive_N | (self.arrays["scopes.u32"] != scope_id)
            if len(self.excluded) >= MAX_CACHED_SCOPES:
                self.excluded.clear()
            self.excluded[scope_id] = is_excluded_N
        return is_excluded_N

    def filtered_rows(self, scope_id: int, ranges_R2: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True for excluded rows, and for those outside of the ranges, shape `(N,)`."""
        key = scope_id, id(ranges_R2)  # the entry has the array, so no other one gets its id
        if (entry := self.filtered.get(key)) is None:
            entry = ranges_R2, self.excluded_rows(scope_id) | ~is_in_ranges(self.ids_N, ranges_R2)
            if len(self.filtered) >= MAX_CACHED_FILTERS:
                self.filtered.clear()
            self.filtered[key] = entry
        return entry[1]

    def scores(self, rows_K: NDArray[np.int64], query_D: NDArray[np.float32]) -> NDArray[np.float64]:
        """Cosines of rows and the query, shape `(K,)`."""
        mean_score = self.header.mean_D.astype(np.float64) @ query_D.astype(np.float64)
        fixed_D = np.rint(rotate(query_D[None])[0].astype(np.float64) * QUERY_UNIT)
        products_K = self.arrays["rows.i8"][rows_K].astype(np.float64) @ fixed_D
        scales_K = self.arrays["scales.f32"][rows_K].astype(np.float64) / QUERY_UNIT
        scores_K: NDArray[np.float64] = products_K * scales_K + mean_score
        return scores_K


class DenseIndex:
    """An index that is read. Thread-safe.

    Args:
        folder: the index. It is opened at the first search.
        encoder: `TextEncoder.fingerprint` of the encoder of queries.
    """

    def __init__(self, folder: Path, encoder: str) -> None:
        self._folder, self._encoder = folder, encoder
        self._lock = threading.Lock()
        self._version: tuple[int, ...] = ()
        self._rows: DenseRows | None = None

    @property
    def cursor(self) -> IndexCursor:
        """What the index contains. Raises `IndexDamaged` if it cannot be used."""
        return self.rows().state.cursor

    def count(self, scope_id: int) -> int:
        """Number of passages of a scope that have a vector."""
        return int(np.count_nonzero(~self.rows().excluded_rows(scope_id)))

    def search(
        self, query_D: NDArray[np.float32], k: int, scope_id: int, ranges_R2: NDArray[np.int64] | None = None
    ) -> Ranking:
        """The `k` nearest passages of a scope, with their cosines.

        The ids may be those of passages that the store no longer has.

        Args:
            query_D: the query's vector, of length 1.
            k: maximum number of passages.
            scope_id: number of the scope.
            ranges_R2: first and last ids of the passages to search; None: all.

        Raises:
            IndexDamaged: the index cannot be used.
        """
        rows = self.rows()
        is_excluded_N = rows.excluded_rows(scope_id) if ranges_R2 is None else rows.filtered_rows(scope_id, ranges_R2)
        num_searched = len(is_excluded_N) - int(np.count_nonzero(is_excluded_N))
        count = max(k, MIN_CANDIDATES, num_searched // ROWS_PER_CANDIDATE)
        if not rows.header.has_mean or num_searched <= max(count, MEAN_ROWS):
            candidates_C = np.flatnonzero(~is_excluded_N)
        else:
            bits = [rows.arrays[name] for name in rows.header.file_types if name.startswith("bits.")]
            query_W = sign_bits(rotate((query_D - rows.header.mean_D)[None]))[:, 0]
            has_excluded = num_searched < len(is_excluded_N)
            candidates_C = nearest_rows(bits, query_W, count, is_excluded_N if has_excluded else None)
        return Ranking.of(rows.ids_N[candidates_C], rows.scores(candidates_C, query_D), k)

    def scores(self, ids_K: NDArray[np.int64], query_D: NDArray[np.float32]) -> NDArray[np.float64]:
        """Cosines of passages and the query, shape `(K,)`; NaN for passages without a vector."""
        rows = self.rows()
        scores_K = np.full(len(ids_K), np.nan)
        if rows.state.num_rows:
            rows_K = np.minimum(np.searchsorted(rows.ids_N, ids_K), rows.state.num_rows - 1)
            has_vector_K = rows.ids_N[rows_K] == ids_K
            scores_K[has_vector_K] = rows.scores(rows_K[has_vector_K], query_D)
        return scores_K

    def rows(self) -> DenseRows:
        """The rows of the last state. Raises `IndexDamaged`."""
        with self._lock:
            try:
                status = (self._folder / STATE).stat()
            except OSError as error:
                raise IndexDamaged(f"There is no dense index in {self._folder}.") from error
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if self._rows is None or version != self._version:
                generation = None if self._rows is None else self._rows.header.generation
                self._rows = None
                self._rows = open_rows(self._folder, self._encoder, generation)
                self._version = version
            return self._rows


def open_rows(folder: Path, encoder: str, checked_generation: str | None = None) -> DenseRows:
    """Map an index, and compare its checksums unless they were compared at an earlier state of its generation.

    Raises:
        IndexDamaged: a file is damaged, or the index is of another encoder.
    """
    for _ in range(5):
        state, header = read_state(folder), read_header(folder)
        if header.encoder != encoder or len(header.mean_D) != header.dimension:
            raise IndexDamaged(f"The dense index {folder} is of another encoder.")
        if header.generation == state.generation:
            if header.generation != checked_generation:
                check_rows(folder, header, state)
            rows = DenseRows(header, state, map_rows(folder, header, state))
            if read_header(folder).generation == header.generation:
                return rows
    raise IndexDamaged(f"The files of the dense index {folder} do not belong together.")


def is_in_ranges(ids_N: NDArray[np.int64], ranges_R2: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether ids, which are ascending, lie in one of the ranges."""
    changes_N = np.zeros(len(ids_N) + 1, np.int32)
    np.add.at(changes_N, np.searchsorted(ids_N, ranges_R2[:, 0]), 1)
    np.add.at(changes_N, np.searchsorted(ids_N, ranges_R2[:, 1], side="right"), -1)
    return np.cumsum(changes_N[:-1]) > 0
