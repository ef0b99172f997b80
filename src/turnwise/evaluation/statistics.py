"""How sure a difference is: intervals by resampling dialogues, and tests whose errors add up to what was allowed.

Turns of a dialogue, and answers to it with several seeds, are not independent, so whole dialogues are resampled. The
intervals are the studentised bootstrap's (Efron 1982; Hall 1988): dialogues differ in length a lot, and of intervals by
BCa fewer hold the truth (`docs/experiments.md`). Whether there is a difference at all is asked by exchanging the two
models' parts of dialogues at random (Fisher 1935; Noreen 1989 for such figures), which needs no assumption about how
they are spread.

Shapes: G dialogues, K sums of a metric, R resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from turnwise.evaluation.metric import FloatArray

MIN_DIALOGUES = 5  # dialogues: of fewer an interval would say more than anybody can know
NUM_RESAMPLES = 9_999  # with what was seen, ten thousand
CONFIDENCE_LEVEL = 0.95

MetricFunction = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """From `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class McNemarTest:
    """McNemar's exact test of what is simply right or wrong.

    Attributes:
        gained: wrong before, right now.
        lost: right before, wrong now (negative flips).
        p: that so uneven a split comes by chance.
    """

    gained: int
    lost: int
    p_value: float


def metric_value(sums_GK: FloatArray, value: MetricFunction) -> float:
    """The metric over all dialogues."""
    return float(value(sums_GK.sum(axis=0)))


def bootstrap_interval(
    sums_GK: FloatArray, value: MetricFunction, *, resamples: int = NUM_RESAMPLES, seed: int = 0
) -> ConfidenceInterval:
    """What the metric might be on all dialogues of the kind: 95 of 100 such intervals hold it."""
    return _resampled(sums_GK, value, resamples, seed)


def bootstrap_difference_interval(
    new_GK: FloatArray, old_GK: FloatArray, value: MetricFunction, *, resamples: int = NUM_RESAMPLES, seed: int = 0
) -> ConfidenceInterval:
    """The same of how far one model is above another on the same dialogues."""
    width = new_GK.shape[1]

    def difference(totals_XK: FloatArray) -> FloatArray:
        return value(totals_XK[..., :width]) - value(totals_XK[..., width:])

    return _resampled(np.concatenate([new_GK, old_GK], axis=1), difference, resamples, seed)


def permutation_test(
    new_GK: FloatArray, old_GK: FloatArray, value: MetricFunction, *, resamples: int = NUM_RESAMPLES, seed: int = 0
) -> float:
    """The probability of so large a difference, either way, if it did not matter which model is which (two-sided p)."""
    seen = abs(metric_value(new_GK, value) - metric_value(old_GK, value))
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


def wilson_interval(right_G: FloatArray) -> ConfidenceInterval:
    """The same for a share of right answers (Wilson 1927), which holds also where all or none are right."""
    found = stats.binomtest(int((right_G > 0).sum()), len(right_G)).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return ConfidenceInterval(float(found.low), float(found.high))


def newcombe_interval(new_G: FloatArray, old_G: FloatArray) -> ConfidenceInterval:
    """How far one share of right answers is above another on the same dialogues (Newcombe 1998, his tenth method).

    Where hardly any answer changes there is nothing to resample: three of a hundred that were lost might be none.
    """
    new, old, count = new_G > 0, old_G > 0, len(new_G)
    share, before = float(new.mean()), float(old.mean())
    own, other = wilson_interval(new_G), wilson_interval(old_G)
    both, neither = float((new & old).sum()), float((~new & ~old).sum())
    gained, lost = float((new & ~old).sum()), float((~new & old).sum())
    product = (both + gained) * (neither + lost) * (both + lost) * (neither + gained)
    agree = both * neither - gained * lost
    phi = (max(agree - count / 2, 0.0) if agree > 0 else agree) / product**0.5 if product else 0.0
    down = _apart(share - own.low, other.high - before, phi)
    up = _apart(own.high - share, before - other.low, phi)
    return ConfidenceInterval(share - before - down, share - before + up)


def _apart(one: float, other: float, phi: float) -> float:
    return float(max(0.0, one**2 - 2 * phi * one * other + other**2) ** 0.5)


def mcnemar(new_G: FloatArray, old_G: FloatArray) -> McNemarTest:
    """Compare two models on what each of them got right (1) or wrong (0)."""
    gained, lost = int(((new_G > 0) & (old_G <= 0)).sum()), int(((new_G <= 0) & (old_G > 0)).sum())
    p = float(stats.binomtest(lost, gained + lost).pvalue) if gained + lost else 1.0
    return McNemarTest(gained, lost, p)


def holm_correction(chances: Sequence[float]) -> list[float]:
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


def _resampled(sums_GK: FloatArray, value: MetricFunction, resamples: int, seed: int) -> ConfidenceInterval:
    """By the studentised bootstrap; a point where dialogues are all alike, and nothing (NaN) of a few of them."""
    count = len(sums_GK)
    if count < MIN_DIALOGUES:
        return ConfidenceInterval(float("nan"), float("nan"))
    at_1, error_1 = _with_error(sums_GK, value, np.ones((1, count)))
    at, error = float(at_1[0]), float(error_1[0])
    if not error > 1e-12 * abs(at):
        return ConfidenceInterval(at, at)
    rng = np.random.default_rng(seed)
    found = []
    for size in _batches(resamples, count):
        times_RG = rng.multinomial(count, np.full(count, 1 / count), size).astype(np.float64)
        value_R, error_R = _with_error(sums_GK, value, times_RG)
        usable_R = error_R > 1e-9 * error  # where all that was drawn is alike there is nothing to go by
        found.append((value_R[usable_R] - at) / error_R[usable_R])
    low, high = np.quantile(np.concatenate(found), [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    return ConfidenceInterval(at - float(high) * error, at - float(low) * error)


def _with_error(sums_GK: FloatArray, value: MetricFunction, times_RG: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The metric of dialogues taken so many times each, and its standard error by the infinitesimal jackknife."""
    totals_RK = times_RG @ sums_GK
    value_R = value(totals_RK)
    slopes_RK = np.zeros_like(totals_RK)
    for column, size in enumerate(np.abs(sums_GK).sum(axis=0)):
        if size:
            moved_RK = totals_RK.copy()
            moved_RK[:, column] += 1e-6 * size
            slopes_RK[:, column] = (value(moved_RK) - value_R) / (1e-6 * size)
    influence_RG = slopes_RK @ sums_GK.T - (slopes_RK * totals_RK).sum(axis=1, keepdims=True) / len(sums_GK)
    return value_R, np.sqrt((times_RG * influence_RG**2).sum(axis=1))
