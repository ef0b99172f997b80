"""A fixed rotation of vectors that makes their dimensions alike.

Embeddings have a few dimensions of large variance. They set the unit of the 8-bit integers, and the signs of the others
say little. A random rotation (Ailon & Chazelle 2009: sign flips and Hadamard transforms) evens the dimensions out and
changes no dot product. It uses additions only, so that every machine computes the same rows.

Shapes: N vectors, D dimensions.
"""

import hashlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_ROUNDS = 4  # a round transforms the first or the last dimensions, as many as the largest power of two


def rotate(vectors_ND: NDArray[Any]) -> NDArray[np.float32]:
    """The rotated vectors."""
    rotated_ND = vectors_ND.astype(np.float32)
    size = _block_size(rotated_ND.shape[1])
    for number in range(NUM_ROUNDS):
        rotated_ND *= _signs(rotated_ND.shape[1], number)
        _transform(_block(rotated_ND, size, number))
    return rotated_ND


def rotate_back(rotated_ND: NDArray[Any]) -> NDArray[np.float32]:
    """The inverse of `rotate`."""
    vectors_ND = rotated_ND.astype(np.float32)
    size = _block_size(vectors_ND.shape[1])
    for number in reversed(range(NUM_ROUNDS)):
        _transform(_block(vectors_ND, size, number))
        vectors_ND *= _signs(vectors_ND.shape[1], number)
    return vectors_ND


def _block(vectors_ND: NDArray[np.float32], size: int, number: int) -> NDArray[np.float32]:
    """A view of the dimensions that a round transforms."""
    return vectors_ND[:, :size] if number % 2 == 0 else vectors_ND[:, vectors_ND.shape[1] - size :]


def _transform(block_ND: NDArray[np.float32]) -> None:
    """The orthonormal Walsh-Hadamard transform, in place. It is its own inverse."""
    size, step = block_ND.shape[1], 1
    while step < size:
        pairs = block_ND.reshape(len(block_ND), size // (2 * step), 2, step)  # a view
        first, second = pairs[:, :, 0].copy(), pairs[:, :, 1].copy()
        np.add(first, second, out=pairs[:, :, 0])
        np.subtract(first, second, out=pairs[:, :, 1])
        step *= 2
    block_ND *= np.float32(size**-0.5)


def _block_size(dimension: int) -> int:
    return 1 << (dimension.bit_length() - 1)


@cache
def _signs(dimension: int, number: int) -> NDArray[np.float32]:
    digest = hashlib.shake_256(f"rotation {number}".encode()).digest(dimension)
    return np.where(np.frombuffer(digest, np.uint8) & 1, 1.0, -1.0).astype(np.float32)
