"""A small encoder, and knowledge bases to test with."""

import hashlib
from collections.abc import Sequence

import numpy as np

from turnwise.core.knowledge import NewDocument, NewPassage
from turnwise.retrieval.terms import split_terms

DIMENSION = 72  # not a multiple of 64, so that the last word of the bits is filled up


class WordEncoder:
    """The vector of a text is the normalized sum of random vectors of its words."""

    def __init__(self, fingerprint: str = "words-1", dimension: int = DIMENSION) -> None:
        self.fingerprint, self.dimension = fingerprint, dimension
        self.num_texts = 0

    def embed_query(self, text: str):
        return self._vector(text)

    def embed_passages(self, texts: Sequence[str]):
        self.num_texts += len(texts)
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str):
        total = np.full(self.dimension, 0.05)
        for word in split_terms(text):
            seed = int.from_bytes(hashlib.sha256(f"{self.fingerprint}{word}".encode()).digest()[:8], "big")
            total += np.random.default_rng(seed).standard_normal(self.dimension)
        return (total / np.linalg.norm(total)).astype(np.float32)


def new_document(source="a.txt", text="", **fields):
    """A document whose hash is that of its text."""
    return NewDocument(source, hashlib.sha256(text.encode()).hexdigest(), **fields)


def new_passages(*texts):
    """Passages one after the other."""
    passages, start = [], 0
    for text in texts:
        passages.append(NewPassage(text, start, start + len(text)))
        start += len(text) + 2
    return passages


def add(store, source, *texts, **fields):
    """Add a document of these passages."""
    return store.add(new_document(source, "\n\n".join(texts), **fields), new_passages(*texts))


def texts_of(results):
    """Texts of search results."""
    return [result.passage.text for result in results]
