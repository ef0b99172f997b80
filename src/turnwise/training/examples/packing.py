"""Filling rows of a fixed length with several dialogues, so that no step is spent on padding.

Best-fit decreasing (Ding et al. 2024, "Fewer truncations improve language modeling") over a shuffled window: close to
the densest packing, while the order stays random.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Sequence

WINDOW = 4096  # examples packed together; larger is denser, smaller keeps the order more random


def pack_sequences(lengths: Sequence[int], row_length: int, *, seed: int) -> list[list[int]]:
    """Rows of example indices; the lengths in a row add up to at most `row_length`.

    Every example is in exactly one row. The same seed gives the same rows in the same order, whatever else ran before.

    Args:
        lengths: tokens of each example, none above `row_length`.
        row_length: tokens in a row.
        seed: of the shuffle; use another for every epoch.
    """
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    rows: list[list[int]] = []
    for start in range(0, len(order), WINDOW):
        rows.extend(_pack_window(order[start : start + WINDOW], lengths, row_length))
    rng.shuffle(rows)
    return rows


def bucket_by_length(lengths: Sequence[int], group: int, *, seed: int) -> list[list[int]]:
    """Rows of one example each, for models that take no several; those of a group are about as long as each other.

    Args:
        lengths: tokens of each example.
        group: rows that are read together, and so padded to the longest of them.
        seed: of the shuffle; use another for every epoch.
    """
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    groups: list[list[int]] = []
    for start in range(0, len(order), WINDOW):
        window = sorted(order[start : start + WINDOW], key=lambda i: lengths[i])  # stable, as below
        groups.extend(window[i : i + group] for i in range(0, len(window), group))
    rng.shuffle(groups)
    return [[index] for found in groups for index in found]


def _pack_window(window: Sequence[int], lengths: Sequence[int], row_length: int) -> list[list[int]]:
    rows: list[list[int]] = []
    gaps: list[tuple[int, int]] = []  # (room left, row), sorted
    for index in sorted(window, key=lambda i: -lengths[i]):  # stable: equal lengths keep the shuffled order
        length = lengths[index]
        assert length <= row_length, "examples are cut to the row before packing"
        at = bisect_left(gaps, (length, -1))
        if at < len(gaps):
            room, row = gaps.pop(at)
            rows[row].append(index)
        else:
            room, row = row_length, len(rows)
            rows.append([index])
        insort(gaps, (room - length, row))
    return rows
