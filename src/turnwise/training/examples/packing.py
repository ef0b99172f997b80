"""Packing of several examples into rows of a fixed length, which avoids padding.

Best-fit decreasing (Ding et al. 2024, "Fewer truncations improve language modeling") over a shuffled window: close to
the densest packing, while the order of rows stays random.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Sequence

WINDOW = 4096  # examples packed together; larger packs denser, smaller keeps the order more random


def pack_sequences(lengths: Sequence[int], max_seq_len: int, *, seed: int) -> list[list[int]]:
    """Pack every example into exactly one row; return the example indices of each row.

    Args:
        lengths: token count of each example, none above `max_seq_len`.
        max_seq_len: maximum tokens per row.
        seed: seed of the shuffle. The same seed gives the same rows in the same order; use another for every epoch.
    """
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    rows: list[list[int]] = []
    for start in range(0, len(order), WINDOW):
        rows.extend(_pack_window(order[start : start + WINDOW], lengths, max_seq_len))
    rng.shuffle(rows)
    return rows


def bucket_by_length(lengths: Sequence[int], group: int, *, seed: int) -> list[list[int]]:
    """Return rows of one example each, for models without packing; neighbouring rows have similar lengths.

    Args:
        lengths: token count of each example.
        group: rows per micro-batch, which are padded to the longest of them.
        seed: seed of the shuffle; use another for every epoch.
    """
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    groups: list[list[int]] = []
    for start in range(0, len(order), WINDOW):
        window = sorted(order[start : start + WINDOW], key=lambda i: lengths[i])  # stable, as below
        groups.extend(window[i : i + group] for i in range(0, len(window), group))
    rng.shuffle(groups)
    return [[index] for bucket in groups for index in bucket]


def _pack_window(window: Sequence[int], lengths: Sequence[int], max_seq_len: int) -> list[list[int]]:
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (free tokens, row index), sorted
    for index in sorted(window, key=lambda i: -lengths[i]):  # stable: equal lengths stay in shuffled order
        length = lengths[index]
        assert length <= max_seq_len, "examples are truncated before packing"
        best = bisect_left(free, (length, -1))
        if best < len(free):
            size, row = free.pop(best)
            rows[row].append(index)
        else:
            size, row = max_seq_len, len(rows)
            rows.append([index])
        insort(free, (size - length, row))
    return rows
