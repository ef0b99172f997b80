"""Vectors, and a dense index of them."""

import numpy as np

from knowledge_stand_ins import DIMENSION
from turnwise.retrieval.dense_writer import DenseWriter
from turnwise.retrieval.index_cursor import IndexCursor

ENCODER = "encoder-1"


def random_vectors(count, dimension=DIMENSION, seed=0, num_clusters=20):
    """Unit vectors in clusters, with a common direction as E5 has it."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((num_clusters, dimension)) + 1.0
    vectors = centres[rng.integers(0, num_clusters, count)] + rng.standard_normal((count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write(folder, vectors, scopes=None, batch=1000, encoder=ENCODER, first_id=1):
    writer = DenseWriter(folder, encoder, vectors.shape[1])
    scopes = np.ones(len(vectors), np.uint32) if scopes is None else np.asarray(scopes, np.uint32)
    for start in range(0, len(vectors), batch):
        block = vectors[start : start + batch]
        ids = np.arange(first_id + start, first_id + start + len(block))
        cursor = IndexCursor("base", int(ids[-1]), 0, 1)
        writer.append(ids, scopes[start : start + batch], block, cursor)
    return writer


def exact(vectors, query, k):
    return np.argsort(-(vectors @ query), kind="stable")[:k] + 1
