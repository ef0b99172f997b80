"""Vectors for the speed of a knowledge base (`knowledge.py`).

Embedding a million passages takes hours, so vectors are varied from real ones: a + `NOISE` · (b − c), normalized, for
three random vectors of a knowledge base. The differences of real vectors have their covariance, so the dimensions stay
as uneven as they are. Queries are drawn in the same way. Without a knowledge base, vectors
are drawn from clusters around centres that lie around a common direction.

Shapes: N vectors, D dimensions, Q queries, R real vectors.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.retrieval.dense_format import map_rows, read_header, read_state
from turnwise.retrieval.rotation import rotate_back

DIMENSION = 384
CHUNK = 50_000
CLUSTER_SIZE = 200
NOISE = 0.5
NUM_QUERIES = 200


class VariedVectors:
    """Vectors that are computed again whenever they are needed, and an encoder that returns those of queries.

    Args:
        count: number of vectors.
        real_RD: vectors to vary.
    """

    def __init__(self, count: int, real_RD: NDArray[np.float32]) -> None:
        self.fingerprint, self.dimension, self.count = f"varied-{count}", real_RD.shape[1], count
        self._real_RD = real_RD

    @cached_property
    def queries_QD(self) -> NDArray[np.float32]:
        """The vectors of the queries."""
        return self._draw(NUM_QUERIES, np.random.default_rng(1))

    def chunks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Positions and vectors of all chunks."""
        for start in range(0, self.count, CHUNK):
            yield start, self._draw(min(CHUNK, self.count - start), np.random.default_rng(1000 + start))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector of the query that ends with this number."""
        query_D: NDArray[np.float32] = self.queries_QD[int(text.rsplit(" ", 1)[1])]
        return query_D

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Not needed: all passages have vectors."""
        raise NotImplementedError

    def exact(self, k: int) -> NDArray[np.int64]:
        """Passage ids (positions from 1) of the `k` nearest vectors of each query, by float32 scores."""
        scores_QK = np.full((NUM_QUERIES, 0), 0, np.float32)
        ids_QK = np.full((NUM_QUERIES, 0), 0, np.int64)
        for start, vectors_ND in self.chunks():
            new_QN = self.queries_QD @ vectors_ND.T
            best_QK = np.argpartition(-new_QN, min(k, new_QN.shape[1]) - 1, axis=1)[:, :k]
            scores_QK = np.concatenate([scores_QK, np.take_along_axis(new_QN, best_QK, axis=1)], axis=1)
            ids_QK = np.concatenate([ids_QK, best_QK + start + 1], axis=1)
            order_QK = np.argsort(-scores_QK, axis=1, kind="stable")[:, :k]
            scores_QK = np.take_along_axis(scores_QK, order_QK, axis=1)
            ids_QK = np.take_along_axis(ids_QK, order_QK, axis=1)
        return ids_QK

    def _draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        a_N, b_N, c_N = rng.integers(0, len(self._real_RD), (3, count))
        return normalize(self._real_RD[a_N] + np.float32(NOISE) * (self._real_RD[b_N] - self._real_RD[c_N]))


def read_vectors(dense_folder: Path) -> NDArray[np.float32]:
    """The vectors of a dense index, as exactly as its 8-bit integers have them, shape `(R, D)`."""
    header, state = read_header(dense_folder), read_state(dense_folder)
    arrays = map_rows(dense_folder, header, state)
    centred_RD = arrays["rows.i8"] * arrays["scales.f32"][:, None]
    return normalize(rotate_back(centred_RD) + header.mean_D)


def clustered_vectors(count: int) -> NDArray[np.float32]:
    """Vectors in clusters around centres that lie around a common direction, with dimensions of falling variance."""
    rng = np.random.default_rng(7)
    spread_D = (np.arange(1, DIMENSION + 1) ** -0.25).astype(np.float32)
    common_D = normalize(rng.standard_normal((1, DIMENSION)))
    noise_RD = normalize(rng.standard_normal((count, DIMENSION), dtype=np.float32) * spread_D)
    centres_KD = normalize(rng.standard_normal((max(1, count // CLUSTER_SIZE), DIMENSION), dtype=np.float32) * spread_D)
    return normalize(common_D + centres_KD[rng.integers(0, len(centres_KD), count)] + 0.8 * noise_RD)


def normalize(vectors_ND: NDArray[Any]) -> NDArray[np.float32]:
    """Vectors of length 1."""
    unit_ND: NDArray[np.float32] = (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).astype(np.float32)
    return unit_ND
