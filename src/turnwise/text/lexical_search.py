"""Lexical search: ranks texts by the words that they share with a query (BM25, Robertson & Zaragoza 2009)."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnwise.text.word_tokens import split_words

K1, B = 1.5, 0.75  # saturation of the term frequency, strength of the length normalization


@dataclass(frozen=True, slots=True)
class Match:
    """A text that shares a word with the query.

    Attributes:
        index: position of the text in the indexed texts.
        score: BM25 score, above 0; higher is more similar.
    """

    index: int
    score: float


class LexicalIndex:
    """An index of texts, built once. Scores are float64.

    Shapes: N texts, V distinct words, P postings: pairs of a word and a text that contains it, sorted by word.

    Args:
        texts: the texts to search.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        counts_N = [Counter(split_words(text)) for text in texts]
        self._num_texts = len(counts_N)
        self._word_ids: dict[str, int] = {}
        word_ids = [self._word_ids.setdefault(w, len(self._word_ids)) for counts in counts_N for w in counts]
        word_ids_P = np.array(word_ids, dtype=np.int64)
        texts_P = np.repeat(np.arange(len(counts_N)), [len(counts) for counts in counts_N])
        term_counts_P = np.array([count for counts in counts_N for count in counts.values()], dtype=np.float64)
        by_word_P = np.argsort(word_ids_P, kind="stable")
        self._texts_P = texts_P[by_word_P]
        self._weights_P = _bm25_weights(word_ids_P, texts_P, term_counts_P, len(counts_N))[by_word_P]
        # Postings of word i: ends[i] to ends[i + 1].
        self._ends = [0, *np.cumsum(np.bincount(word_ids_P, minlength=len(self._word_ids))).tolist()]

    def search(self, query: str, k: int, *, count_repeats: bool = True) -> list[Match]:
        """The `k` best texts, best first; of equal scores the first text comes first.

        Args:
            query: a text.
            k: maximum number of matches. Texts without a word of the query are not among them.
            count_repeats: add the weight of a word as often as the query contains it; False: once.
        """
        words: Sequence[str] = split_words(query)
        scores_N = np.zeros(self._num_texts)
        for word in words if count_repeats else dict.fromkeys(words):
            if (word_id := self._word_ids.get(word)) is not None:
                postings = slice(self._ends[word_id], self._ends[word_id + 1])
                np.add.at(scores_N, self._texts_P[postings], self._weights_P[postings])
        matches = np.flatnonzero(scores_N)
        if k < len(matches):  # sort only the texts that reach the k-th score
            kth_score = np.partition(scores_N[matches], -k)[-k] if k else np.inf
            matches = matches[scores_N[matches] >= kth_score]
        best = matches[np.argsort(-scores_N[matches], kind="stable")][:k]
        return [Match(index, score) for index, score in zip(best.tolist(), scores_N[best].tolist(), strict=True)]


def _bm25_weights(
    word_ids_P: NDArray[np.int64], texts_P: NDArray[np.int64], term_counts_P: NDArray[np.float64], num_texts: int
) -> NDArray[np.float64]:
    """The summand of each posting: idf · tf · (k1 + 1) / (tf + k1 · (1 − b + b · length / mean length))."""
    text_counts_V = np.bincount(word_ids_P).tolist()
    idf_V = np.array([math.log(1 + (num_texts - n + 0.5) / (n + 0.5)) for n in text_counts_V])
    lengths_N = np.bincount(texts_P, weights=term_counts_P, minlength=num_texts)
    relative_lengths_N = lengths_N / (lengths_N.sum() / max(1, num_texts) or 1.0)
    normalization_P = K1 * (1 - B + B * relative_lengths_N[texts_P])
    return idf_V[word_ids_P] * term_counts_P * (K1 + 1) / (term_counts_P + normalization_P)
