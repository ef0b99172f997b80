"""An n-gram model over token ids: interpolated Kneser–Ney smoothing (Kneser & Ney 1995; Chen & Goodman 1999, § 2.7).

Of every run of n tokens a discount is taken off its count, and what is taken off is given to what the shorter context
finds likely. How likely a token is after a shorter context follows from in how many different longer contexts it was
seen there, not from how often: "Francisco" is frequent, but only after "San". At the end stands the same small chance
for every token of the vocabulary, so that all probabilities are above zero and sum to one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import compress

import numpy as np

from turnwise.evaluation.metric import FloatArray

Gram = tuple[int, ...]
START = -1  # stands before a text's first token, and is no token


class KneserNey:
    """How likely each token is after those before it.

    Args:
        texts: token ids, and of each whether it is learned from; those that are not are contexts only.
        order: how many tokens a run has, the one that is foretold among them.
        vocab_size: ids run from 0 to this, exclusive.
    """

    def __init__(self, texts: Iterable[tuple[Sequence[int], Sequence[bool]]], *, order: int, vocab_size: int) -> None:
        self.order, self.vocab_size = order, vocab_size
        runs: Counter[Gram] = Counter()
        for ids, learned in texts:
            runs.update(compress(_runs(self._padded(ids), order), learned))
        self._levels = [_Level(runs, order - 1)]  # by the length of contexts, none first
        for before in reversed(range(order - 1)):
            runs = Counter(gram[1:] for gram in runs)  # in how many contexts, each counted once
            self._levels.insert(0, _Level(runs, before))
        self._remembered = lru_cache(1 << 20)(self.probability)  # the same replies are scored again and again
        self._after_nothing = self._joined(np.full(vocab_size, 1 / vocab_size), (), self._levels[:1])

    def probability(self, ngram: Gram) -> float:
        """Of a run's last token after the `order - 1` before it."""
        found = 1 / self.vocab_size
        for level in self._levels:
            followers = level.followers.get(ngram[-1 - level.before : -1])
            if followers is None:  # then no longer context was seen either
                break
            taken = level.discount * len(followers.counts)
            own = max(0.0, followers.counts.get(ngram[-1], 0) - level.discount)
            found = (own + taken * found) / followers.total
        return found

    def probabilities(self, ids: Sequence[int], places: Sequence[int]) -> list[float]:
        """Of the tokens at these places of a text."""
        padded = self._padded(ids)
        return [self._remembered(tuple(padded[at : at + self.order])) for at in places]

    def distribution(self, before: Sequence[int]) -> FloatArray:
        """Of every token after a text: `(V)`, as `probability` says of each."""
        context = tuple(self._padded(before)[len(before) :])
        return self._joined(self._after_nothing.copy(), context, self._levels[1:])

    def _joined(self, found: FloatArray, context: Gram, levels: Sequence["_Level"]) -> FloatArray:
        """A distribution after a shorter context, changed by what longer ones say."""
        for level in levels:
            followers = level.followers.get(context[len(context) - level.before :])
            if followers is None:
                break
            found *= level.discount * len(followers.counts) / followers.total
            seen = np.fromiter(followers.counts, dtype=np.int64)
            counts = np.fromiter(followers.counts.values(), dtype=np.float64)
            found[seen] += (counts - level.discount) / followers.total
        return found

    def _padded(self, ids: Sequence[int]) -> list[int]:
        return [START] * (self.order - 1) + list(ids)


class _Followers:
    """What came after a context, and how often."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0


class _Level:
    """All runs of one length, which is one more than that of contexts."""

    def __init__(self, count_ngrams: Counter[Gram], before: int) -> None:
        self.before = before
        self.followers: dict[Gram, _Followers] = {}
        for gram, count in count_ngrams.items():
            found = self.followers.setdefault(gram[:-1], _Followers())
            found.counts[gram[-1]] = count
            found.total += count
        times = Counter(count_ngrams.values())
        # n₁ / (n₁ + 2 n₂) (Ney, Essen & Kneser 1994), as if one more run had been seen once and half a one twice:
        # with little data it stays between 0 and 1.
        self.discount = (times[1] + 1) / (times[1] + 2 * times[2] + 2)


def _runs(ids: Sequence[int], length: int) -> Iterable[Gram]:
    return zip(*(ids[start:] for start in range(length)), strict=False)
