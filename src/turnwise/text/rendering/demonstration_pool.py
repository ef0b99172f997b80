"""The demonstrations that a selection chooses from, with their similarities: by words, or by an embedder.

Shapes: N demonstrations, C candidates, H embedding size.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from turnwise.text.lexical_search import LexicalIndex
from turnwise.text.word_tokens import split_words

FloatArray = NDArray[np.float64]
Embed = Callable[[Sequence[str]], FloatArray]
"""Embeddings of texts, `(N, H)`, of any length. Deterministic, since training and serving have to agree."""


class DemonstrationPool:
    """Similarities of demonstrations to a query and to each other, from 0 to 1.

    Args:
        texts: the user messages of each demonstration.
        embed: computes embeddings; None: similarity of words (BM25 to a query, Jaccard index between demonstrations).
    """

    def __init__(self, texts: Sequence[str], embed: Embed | None = None) -> None:
        self._texts, self._embed = tuple(texts), embed

    @property
    def size(self) -> int:
        """Number of demonstrations."""
        return len(self._texts)

    def nearest(self, query: str, k: int) -> list[int]:
        """At most `k` demonstrations with any similarity to a query, best first; of equal ones the first."""
        if self._embed is None:
            return [match.index for match in self._index.search(query, k, count_repeats=False)]
        similarities_N = self.similarities(query)
        best = np.argsort(-similarities_N, kind="stable")[:k]
        return [index for index in best.tolist() if similarities_N[index] > 0]

    def similarities(self, query: str) -> FloatArray:
        """Similarity of each demonstration to a query, `(N)`; BM25 is divided by its largest value."""
        if self._embed is not None:
            query_H = _normalize(self._embed([query]))[0]
            return _positive(self._vectors_NH @ query_H)
        scores_N = np.zeros(self.size, dtype=np.float64)
        for match in self._index.search(query, self.size, count_repeats=False):
            scores_N[match.index] = match.score
        largest = max(float(scores_N.max(initial=0.0)), 1e-12)
        return np.asarray(scores_N / largest, dtype=np.float64)

    def similarities_between(self, index: int, candidates: Sequence[int]) -> FloatArray:
        """Similarity of a demonstration to each of the candidates, `(C)`."""
        if self._embed is not None:
            return _positive(self._vectors_NH[list(candidates)] @ self._vectors_NH[index])
        words = self._words[index]
        return np.array([_jaccard(words, self._words[candidate]) for candidate in candidates])

    @cached_property
    def _index(self) -> LexicalIndex:
        return LexicalIndex(self._texts)

    @cached_property
    def _words(self) -> list[frozenset[str]]:
        return [frozenset(split_words(text)) for text in self._texts]

    @cached_property
    def _vectors_NH(self) -> FloatArray:
        assert self._embed is not None
        return _normalize(self._embed(self._texts))


def _normalize(vectors_NH: FloatArray) -> FloatArray:
    lengths_N1 = np.maximum(np.linalg.norm(vectors_NH, axis=1, keepdims=True), 1e-12)
    return np.asarray(vectors_NH / lengths_N1, dtype=np.float64)


def _positive(similarities_N: FloatArray) -> FloatArray:
    """Cosines without negative values."""
    return np.asarray(np.maximum(similarities_N, 0), dtype=np.float64)


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    union = len(first | second)
    return len(first & second) / union if union else 0.0
