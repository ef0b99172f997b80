"""Rows in eight bits, signs in one bit, and the scan of the signs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from turnwise.retrieval import hamming_scan
from turnwise.retrieval.dense_format import quantize_rows, sign_bits
from turnwise.retrieval.hamming_scan import nearest_rows


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1, 1, width=32)))
def test_rows_differ_by_at_most_half_a_unit(vectors):
    rows, scales = quantize_rows(vectors)
    assert np.abs(rows * scales[:, None] - vectors).max() <= scales.max() / 2 + 1e-6


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 130)), elements=st.floats(-1, 1, width=32)))
def test_the_distance_of_bits_counts_the_signs_that_differ(vectors):
    words = sign_bits(vectors)
    distances = np.bitwise_count(words ^ words[:, :1]).sum(axis=0)
    assert distances.tolist() == ((vectors > 0) != (vectors[:1] > 0)).sum(axis=1).tolist()


@given(data=st.data())
@settings(max_examples=60)
def test_the_scan_returns_the_nearest_rows_in_every_division_into_blocks_and_threads(data):
    num_rows = data.draw(st.integers(1, 60))
    bits = data.draw(hnp.arrays(np.uint64, (2, num_rows), elements=st.integers(0, 7)))
    query = data.draw(hnp.arrays(np.uint64, 2, elements=st.integers(0, 7)))
    count = data.draw(st.integers(1, 70))
    excluded = data.draw(st.none() | hnp.arrays(np.bool_, num_rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming_scan, "BLOCK_ROWS", data.draw(st.integers(1, 70)))
        patch.setattr(hamming_scan, "ROWS_PER_THREAD", data.draw(st.integers(1, 70)))
        rows = nearest_rows(list(bits), query, count, excluded)
    distances = np.bitwise_count(bits ^ query[:, None]).sum(axis=0).astype(int)
    allowed = [row for row in range(num_rows) if excluded is None or not excluded[row]]
    assert rows.tolist() == sorted(sorted(allowed, key=lambda row: (distances[row], row))[:count])
