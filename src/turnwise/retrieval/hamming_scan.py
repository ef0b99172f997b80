"""Finds the rows whose sign bits differ least from those of a query.

Shapes: N rows, W words of 64 bits, C candidates.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 32_768  # the buffers of a block stay in the processor's cache
ROWS_PER_THREAD = 100_000
MAX_THREADS = 2
_FAR = np.uint16(65_535)  # distance of rows that are not searched


def nearest_rows(
    bits: Sequence[NDArray[np.uint64]],
    query_W: NDArray[np.uint64],
    count: int,
    is_excluded_N: NDArray[np.bool_] | None,
) -> NDArray[np.int64]:
    """The `count` rows with the smallest Hamming distance, ascending; of equal distances the first rows.

    Args:
        bits: W arrays of N words.
        query_W: the words of the query.
        count: number of rows.
        is_excluded_N: rows that are left out; None: none.
    """
    num_rows = len(bits[0])
    num_threads = max(1, min(MAX_THREADS, os.cpu_count() or 1, num_rows // ROWS_PER_THREAD))
    bounds = [num_rows * number // num_threads for number in range(num_threads + 1)]
    intervals = list(pairwise(bounds))
    if len(intervals) == 1:
        results = [_scan(bits, query_W, count, is_excluded_N, *intervals[0])]
    else:
        futures = [_pool().submit(_scan, bits, query_W, count, is_excluded_N, *interval) for interval in intervals]
        results = [future.result() for future in futures]
    rows_C = np.concatenate([rows for rows, _ in results])
    distances_C = np.concatenate([distances for _, distances in results])
    rows_C, _, _ = _nearest(rows_C, distances_C, count)
    return rows_C


def _scan(
    bits: Sequence[NDArray[np.uint64]],
    query_W: NDArray[np.uint64],
    count: int,
    is_excluded_N: NDArray[np.bool_] | None,
    start: int,
    end: int,
) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """The nearest rows of an interval, in ascending order, with their distances."""
    words, counts = np.empty(BLOCK_ROWS, np.uint64), np.empty(BLOCK_ROWS, np.uint8)
    sums = np.empty(BLOCK_ROWS, np.uint16)
    rows: list[NDArray[np.int64]] = []
    distances: list[NDArray[np.uint16]] = []
    limit, num_collected = int(_FAR), 0  # rows at the limit come too late: earlier ones are as near
    for block in range(start, end, BLOCK_ROWS):
        stop = min(block + BLOCK_ROWS, end)
        size = stop - block
        sums[:size] = 0
        for column, word in zip(bits, query_W, strict=True):
            np.bitwise_xor(column[block:stop], word, out=words[:size])
            np.bitwise_count(words[:size], out=counts[:size])
            np.add(sums[:size], counts[:size], out=sums[:size])
        if is_excluded_N is not None:
            np.putmask(sums[:size], is_excluded_N[block:stop], _FAR)
        near = np.flatnonzero(sums[:size] < limit)
        rows.append(near + block)
        distances.append(sums[near])
        num_collected += len(near)
        if num_collected >= 2 * count:
            best_rows, best_distances, limit = _nearest(np.concatenate(rows), np.concatenate(distances), count)
            rows, distances, num_collected = [best_rows], [best_distances], len(best_rows)
    return np.concatenate(rows), np.concatenate(distances)


def _nearest(
    rows: NDArray[np.int64], distances: NDArray[np.uint16], count: int
) -> tuple[NDArray[np.int64], NDArray[np.uint16], int]:
    """The nearest of ascending rows, still ascending, and the largest distance among them."""
    if len(rows) <= count:
        return rows, distances, int(_FAR)
    cumulative = np.cumsum(np.bincount(distances))
    limit = int(np.searchsorted(cumulative, count))
    is_near = distances < limit
    at_limit = np.flatnonzero(distances == limit)[: count - int(is_near.sum())]
    is_near[at_limit] = True
    return rows[is_near], distances[is_near], limit


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="hamming")
