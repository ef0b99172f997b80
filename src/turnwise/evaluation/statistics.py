"""How sure a difference is: intervals by resampling dialogues, and tests whose errors add up to what was allowed.

Turns of a dialogue, and answers to it with several seeds, are not independent, so whole dialogues are resampled (Efron
1987 for the intervals, BCa). Whether there is a difference at all is asked by exchanging the two models' parts of
dialogues at random (Fisher 1935; Noreen 1989 for such figures), which needs no assumption about how they are spread.

Shapes: G dialogues, K sums of a metric, R resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from turnwise.evaluation.metric import Floats

RESAMPLES = 9_999  # with what was seen, ten thousand
LEVEL = 0.95

Value = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's exact test of what is simply right or wrong.

    Attributes:
        gained: wrong before, right now.
        lost: right before, wrong now (negative flips).
        p: that so uneven a split comes by chance.
    """

    gained: int
    lost: int
    p: float


def value_of(sums_GK: Floats, value: Value) -> float:
    """The metric over all dialogues."""
    return float(value(sums_GK.sum(axis=0)))


def interval(sums_GK: Floats, value: Value, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """What the metric might have been on other dialogues of the kind, 95 times of 100."""
    return _resampled(sums_GK, value, resamples, seed)


def interval_of_difference(
    new_GK: Floats, old_GK: Floats, value: Value, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The same of how far one model is above another on the same dialogues."""
    width = new_GK.shape[1]

    def difference(totals_XK: Floats) -> Floats:
        return value(totals_XK[..., :width]) - value(totals_XK[..., width:])

    return _resampled(np.concatenate([new_GK, old_GK], axis=1), difference, resamples, seed)


def chance(new_GK: Floats, old_GK: Floats, value: Value, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """The probability of so large a difference, either way, if it did not matter which model is which (two-sided p)."""
    seen = abs(value_of(new_GK, value) - value_of(old_GK, value))
    if not seen > 0:  # nor where one of them is not a number
        return 1.0
    rng = np.random.default_rng(seed)
    both_K, apart_GK = new_GK.sum(axis=0) + old_GK.sum(axis=0), new_GK - old_GK
    at_least = 0
    for count in _batches(resamples, len(apart_GK)):
        # Half the sum, and half the difference with signs of its own for every dialogue.
        swayed_RK = (rng.integers(0, 2, (count, len(apart_GK))) * 2.0 - 1) @ apart_GK
        apart_R = value((both_K + swayed_RK) / 2) - value((both_K - swayed_RK) / 2)
        at_least += int((np.abs(apart_R) >= seen * (1 - 1e-9)).sum())
    return (at_least + 1) / (resamples + 1)


def mcnemar(new_G: Floats, old_G: Floats) -> McNemar:
    """Compare two models on what each of them got right (1) or wrong (0)."""
    gained, lost = int(((new_G > 0) & (old_G <= 0)).sum()), int(((new_G <= 0) & (old_G > 0)).sum())
    p = float(stats.binomtest(lost, gained + lost).pvalue) if gained + lost else 1.0
    return McNemar(gained, lost, p)


def holm(chances: Sequence[float]) -> list[float]:
    """Each p as if it were alone: with all below 5 % taken for real, 5 % of the times one is wrong (Holm 1979)."""
    order = sorted(range(len(chances)), key=chances.__getitem__)
    found, least = [0.0] * len(chances), 0.0
    for rank, number in enumerate(order):
        least = max(least, min(1.0, (len(chances) - rank) * chances[number]))
        found[number] = least
    return found


def _batches(resamples: int, size: int) -> list[int]:
    """Parts of the resamples whose arrays stay small."""
    each = max(1, min(resamples, 4_000_000 // max(1, size)))
    return [each] * (resamples // each) + ([resamples % each] if resamples % each else [])


def _resampled(sums_GK: Floats, value: Value, resamples: int, seed: int) -> Interval:
    """BCa over dialogues; a point where they are all alike, and nothing (NaN) of fewer than two."""
    count, total_K = len(sums_GK), sums_GK.sum(axis=0)
    if count < 2:
        return Interval(float("nan"), float("nan"))
    at, without_G = float(value(total_K)), value(total_K - sums_GK)
    if np.allclose(without_G, at, rtol=1e-12, atol=1e-15):
        return Interval(at, at)

    def statistic(drawn: Floats, axis: int) -> Floats:
        """Of dialogues by their numbers, which are drawn along the last axis."""
        index = np.moveaxis(np.asarray(drawn), axis, -1).astype(int)
        flat = index.reshape(-1, index.shape[-1])
        offset = count * np.arange(len(flat))[:, None]
        times_RG = np.bincount((flat + offset).ravel(), minlength=count * len(flat)).reshape(-1, count)
        return value(times_RG @ sums_GK).reshape(index.shape[:-1])

    found = stats.bootstrap(
        (np.arange(count),),
        statistic,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // count),
        vectorized=True,
        confidence_level=LEVEL,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))
