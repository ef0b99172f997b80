"""N-gram language model over token ids: interpolated Kneser–Ney smoothing (Kneser & Ney 1995; Chen & Goodman 1999).

A discount is subtracted from the count of every n-gram, and the freed probability mass goes to the distribution after
the shorter context. That lower-order distribution counts in how many different contexts a token occurs, not how often:
"Francisco" is frequent, but only after "San". The lowest order is interpolated with the uniform distribution over the
vocabulary, so that all probabilities are positive and sum to one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import compress

import numpy as np

from turnwise.evaluation.metric import FloatArray

Ngram = tuple[int, ...]
START = -1  # padding before the first token; not a token id


class KneserNey:
    """Probabilities of tokens given the tokens before them.

    Args:
        texts: token ids, and for each whether it is learned. Other tokens serve only as context.
        order: tokens per n-gram, including the predicted one.
        vocab_size: number of token ids.
    """

    def __init__(self, texts: Iterable[tuple[Sequence[int], Sequence[bool]]], *, order: int, vocab_size: int) -> None:
        self.order, self.vocab_size = order, vocab_size
        counts: Counter[Ngram] = Counter()
        for ids, learned in texts:
            counts.update(compress(_ngrams(self._padded(ids), order), learned))
        self._levels = [_Level(counts, order - 1)]  # by context length, starting with the empty context
        for context_length in reversed(range(order - 1)):
            counts = Counter(ngram[1:] for ngram in counts)  # number of distinct contexts
            self._levels.insert(0, _Level(counts, context_length))
        self._cached_probability = lru_cache(1 << 20)(self.probability)  # the same replies are scored repeatedly
        self._unigram_V = self._interpolate(np.full(vocab_size, 1 / vocab_size), (), self._levels[:1])

    def probability(self, ngram: Ngram) -> float:
        """Return the probability of the last token of an n-gram after the `order - 1` tokens before it."""
        probability = 1 / self.vocab_size
        for level in self._levels:
            followers = level.followers.get(ngram[-1 - level.context_length : -1])
            if followers is None:  # longer contexts were not seen either
                break
            discounted = level.discount * len(followers.counts)
            count = max(0.0, followers.counts.get(ngram[-1], 0) - level.discount)
            probability = (count + discounted * probability) / followers.total
        return probability

    def probabilities(self, ids: Sequence[int], positions: Sequence[int]) -> list[float]:
        """Return the probabilities of the tokens at these positions of a text."""
        padded = self._padded(ids)
        return [self._cached_probability(tuple(padded[position : position + self.order])) for position in positions]

    def distribution(self, prefix: Sequence[int]) -> FloatArray:
        """Return the probabilities of all tokens after a text, shape `(V)`."""
        context = tuple(self._padded(prefix)[len(prefix) :])
        return self._interpolate(self._unigram_V.copy(), context, self._levels[1:])

    def _interpolate(self, probabilities_V: FloatArray, context: Ngram, levels: Sequence["_Level"]) -> FloatArray:
        """Interpolate the distribution after a shorter context with those after longer ones, in place."""
        for level in levels:
            followers = level.followers.get(context[len(context) - level.context_length :])
            if followers is None:
                break
            probabilities_V *= level.discount * len(followers.counts) / followers.total
            token_ids = np.fromiter(followers.counts, dtype=np.int64)
            counts = np.fromiter(followers.counts.values(), dtype=np.float64)
            probabilities_V[token_ids] += (counts - level.discount) / followers.total
        return probabilities_V

    def _padded(self, ids: Sequence[int]) -> list[int]:
        return [START] * (self.order - 1) + list(ids)


class _Followers:
    """Counts of the tokens after one context."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0


class _Level:
    """All n-grams of one order."""

    def __init__(self, counts: Counter[Ngram], context_length: int) -> None:
        self.context_length = context_length
        self.followers: dict[Ngram, _Followers] = {}
        for ngram, count in counts.items():
            followers = self.followers.setdefault(ngram[:-1], _Followers())
            followers.counts[ngram[-1]] = count
            followers.total += count
        num_with_count = Counter(counts.values())
        # n₁ / (n₁ + 2 n₂) (Ney, Essen & Kneser 1994) with n₁ + 1 and n₂ + ½, which stays between 0 and 1 even if
        # there is little data.
        self.discount = (num_with_count[1] + 1) / (num_with_count[1] + 2 * num_with_count[2] + 2)


def _ngrams(ids: Sequence[int], length: int) -> Iterable[Ngram]:
    return zip(*(ids[start:] for start in range(length)), strict=False)
