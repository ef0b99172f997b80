"""The rotation of vectors."""

import numpy as np
import pytest

from turnwise.retrieval.rotation import rotate, rotate_back


@pytest.mark.parametrize("dimension", [1, 2, 3, 72, 384, 1024])
def test_it_changes_no_dot_product_and_can_be_undone(dimension):
    vectors = np.random.default_rng(0).standard_normal((5, dimension)).astype(np.float32)
    rotated = rotate(vectors)
    assert rotated @ rotated.T == pytest.approx(vectors @ vectors.T, rel=1e-4, abs=1e-3)
    assert rotate_back(rotated) == pytest.approx(vectors, abs=1e-4)


@pytest.mark.parametrize("dimension", [72, 384])
def test_a_large_dimension_is_spread_over_all(dimension):
    rotated = rotate(np.eye(dimension, dtype=np.float32)[[0, dimension // 2, dimension - 1]])
    assert np.abs(rotated).max() < 8 / np.sqrt(dimension)


def test_a_vector_is_rotated_alike_alone_and_with_others():
    vectors = np.random.default_rng(0).standard_normal((7, 100)).astype(np.float32)
    assert (rotate(vectors)[3] == rotate(vectors[3:4])[0]).all()


def test_the_input_is_left_as_it_is():
    vectors = np.ones((1, 8), np.float32)
    rotate(vectors)
    assert (vectors == 1).all()
