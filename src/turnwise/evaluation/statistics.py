"""Confidence intervals and significance tests for metrics.

Replies of one dialogue, and replies with several seeds, are not independent, so complete dialogues are resampled.
Confidence intervals come from the studentized bootstrap (Efron 1982; Hall 1988). Dialogues differ a lot in length, and
BCa intervals cover the true value less often then (`docs/experiments.md`). The significance test exchanges the two
systems' results of random dialogues (Fisher 1935; Noreen 1989) and assumes nothing about the distribution.

Shapes: G dialogues, K sums of a metric, R resamples, X sets of sums.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse, stats

from turnwise.evaluation.metric import FloatArray

MIN_DIALOGUES = 5  # no interval is given for fewer
NUM_RESAMPLES = 9_999  # with the observed data 10,000
CONFIDENCE_LEVEL = 0.95
MIN_SPARSE_COLUMNS, MAX_DENSITY = 32, 0.1  # of sums that are multiplied as a sparse array
MIN_CHANGE = 1e-6  # relative change of a sum that is no rounding
MIN_RESAMPLE_ERROR = 0.2  # of a resample, relative to the standard error of the estimate

MetricFunction = Callable[[FloatArray], FloatArray]
"""Maps sums of shape `(X, K)` to values of shape `(X)`; see `MetricDefinition.value`."""

MetricGradient = Callable[[FloatArray], FloatArray | None]
"""Maps sums of shape `(X, K)` to derivatives of the same shape, or to None; see `MetricDefinition.gradient`."""

MIN_TAIL = 20  # resamples beyond a quotient for its p-value to be their share


def no_gradient(_: FloatArray) -> None:
    """Derivatives are not known, so they are computed as differences."""


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A confidence interval, with the level `CONFIDENCE_LEVEL` if nothing else is said."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class McNemarTest:
    """Result of McNemar's exact test for binary outcomes.

    Attributes:
        gained: dialogues that only the new system got right.
        lost: dialogues that only the old system got right (negative flips).
        p_value: two-sided p-value.
    """

    gained: int
    lost: int
    p_value: float


@dataclass(frozen=True, slots=True)
class StudentizedBootstrap:
    """Resampled distribution of (value − estimate) / standard error.

    Attributes:
        count: number of dialogues, G.
        num_changed: of these, dialogues in which two systems differ; all of them for one system.
        estimate: the value over all dialogues; NaN for fewer than `MIN_DIALOGUES`.
        error: standard error of the estimate; 0 if all dialogues are alike.
        quotients_R: the distribution, in ascending order; empty if the error is 0 or the estimate NaN.
    """

    count: int
    num_changed: int
    estimate: float
    error: float
    quotients_R: FloatArray

    def negated(self) -> "StudentizedBootstrap":
        """The distribution of the opposite difference, old − new."""
        return StudentizedBootstrap(self.count, self.num_changed, -self.estimate, self.error, -self.quotients_R[::-1])

    def interval(self, level: float = CONFIDENCE_LEVEL) -> ConfidenceInterval:
        """Two-sided interval; a point if all dialogues are alike, NaN for fewer than `MIN_DIALOGUES`."""
        if not len(self.quotients_R):
            return ConfidenceInterval(self.estimate, self.estimate)
        low, high = np.quantile(self.quotients_R, [(1 - level) / 2, (1 + level) / 2])
        return ConfidenceInterval(self.estimate - float(high) * self.error, self.estimate - float(low) * self.error)

    def p_value_above(self, limit: float = 0.0) -> float:
        """One-sided p-value of "the value is at most `limit`".

        It is at most alpha if the lower bound with the level 1 − alpha is above the limit. Resamples resolve no small
        p-value. Beyond the `MIN_TAIL` most extreme ones, the tail is that of a t distribution with G − 1 degrees of
        freedom that is stretched to their quantile, if it is wider. It never falls below that of the sign test of
        the changed dialogues: if the systems differ on few, the resampled errors are too small.
        """
        if math.isnan(self.estimate):
            return 1.0
        smallest = 0.5 ** (self.num_changed if limit == 0 else self.count)  # if each of them is better
        if not len(self.quotients_R):
            return smallest if self.estimate > limit else 1.0
        quotient = (self.estimate - limit) / self.error
        resamples = len(self.quotients_R)
        beyond = resamples - int(np.searchsorted(self.quotients_R, quotient, side="left"))
        if beyond >= MIN_TAIL or resamples <= MIN_TAIL:
            return max(smallest, (beyond + 1) / (resamples + 1))
        share = MIN_TAIL / resamples
        stretch = max(1.0, float(self.quotients_R[-MIN_TAIL] / stats.t.isf(share, self.count - 1)))
        return float(max(smallest, min(share, stats.t.sf(quotient / stretch, self.count - 1))))


def metric_value(sums_GK: FloatArray, value: MetricFunction) -> float:
    """Return the metric over all dialogues."""
    return float(value(sums_GK.sum(axis=0)))


def bootstrap_interval(
    sums_GK: FloatArray,
    value: MetricFunction,
    *,
    gradient: MetricGradient = no_gradient,
    resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> ConfidenceInterval:
    """Confidence interval of a metric."""
    return _studentized_bootstrap(sums_GK, value, gradient, resamples, seed).interval()


def bootstrap_difference(
    new_GK: FloatArray,
    old_GK: FloatArray,
    value: MetricFunction,
    *,
    gradient: MetricGradient = no_gradient,
    resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> StudentizedBootstrap:
    """Resampled distribution of the difference new − old of two systems on the same dialogues."""
    width = new_GK.shape[1]

    def difference(totals_XK: FloatArray) -> FloatArray:
        return value(totals_XK[..., :width]) - value(totals_XK[..., width:])

    def difference_gradient(totals_XK: FloatArray) -> FloatArray | None:
        new_XK, old_XK = gradient(totals_XK[..., :width]), gradient(totals_XK[..., width:])
        return None if new_XK is None or old_XK is None else np.concatenate([new_XK, -old_XK], axis=-1)

    sums_GK = np.concatenate([new_GK, old_GK], axis=1)
    bootstrap = _studentized_bootstrap(sums_GK, difference, difference_gradient, resamples, seed)
    is_changed_G = ~np.isclose(new_GK, old_GK, rtol=MIN_CHANGE, atol=0).all(axis=1)
    return replace(bootstrap, num_changed=int(is_changed_G.sum()))


def permutation_test(
    new_GK: FloatArray, old_GK: FloatArray, value: MetricFunction, *, resamples: int = NUM_RESAMPLES, seed: int = 0
) -> float:
    """Two-sided p-value of the difference between two systems, by a paired permutation test."""
    observed = abs(metric_value(new_GK, value) - metric_value(old_GK, value))
    if not observed > 0:  # also for NaN
        return 1.0
    rng = np.random.default_rng(seed)
    total_K, difference_GK = new_GK.sum(axis=0) + old_GK.sum(axis=0), _compact(new_GK - old_GK)
    at_least = 0
    for count in _batches(resamples, len(new_GK)):
        # (new + old) / 2 ± (new − old) / 2 with a random sign per dialogue exchanges the two systems there.
        signed_RK = (rng.integers(0, 2, (count, len(new_GK))) * 2.0 - 1) @ difference_GK
        difference_R = value((total_K + signed_RK) / 2) - value((total_K - signed_RK) / 2)
        at_least += int((np.abs(difference_R) >= observed * (1 - 1e-9)).sum())
    return (at_least + 1) / (resamples + 1)


def wilson_interval(is_right_G: FloatArray) -> ConfidenceInterval:
    """Wilson interval of a share of right answers (Wilson 1927). Valid also if all or none are right."""
    test = stats.binomtest(int((is_right_G > 0).sum()), len(is_right_G))
    interval = test.proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return ConfidenceInterval(float(interval.low), float(interval.high))


def newcombe_interval(new_G: FloatArray, old_G: FloatArray) -> ConfidenceInterval:
    """Interval of the difference new − old of two paired shares of right answers (Newcombe 1998, method 10).

    Suits differences in few answers, where resampling often draws none of the changed ones.
    """
    new, old, count = new_G > 0, old_G > 0, len(new_G)
    new_share, old_share = float(new.mean()), float(old.mean())
    new_interval, old_interval = wilson_interval(new_G), wilson_interval(old_G)
    both, neither = float((new & old).sum()), float((~new & ~old).sum())
    gained, lost = _num_changed(new_G, old_G)
    product = (both + gained) * (neither + lost) * (both + lost) * (neither + gained)
    covariance = both * neither - gained * lost
    phi = (max(covariance - count / 2, 0.0) if covariance > 0 else covariance) / product**0.5 if product else 0.0
    below = _combined_margin(new_share - new_interval.low, old_interval.high - old_share, phi)
    above = _combined_margin(new_interval.high - new_share, old_share - old_interval.low, phi)
    return ConfidenceInterval(new_share - old_share - below, new_share - old_share + above)


def _num_changed(new_G: FloatArray, old_G: FloatArray) -> tuple[int, int]:
    """Numbers of dialogues that only the new system, and only the old system, got right."""
    new, old = new_G > 0, old_G > 0
    return int((new & ~old).sum()), int((~new & old).sum())


def _combined_margin(first: float, second: float, phi: float) -> float:
    return float(max(0.0, first**2 - 2 * phi * first * second + second**2) ** 0.5)


def mcnemar(new_G: FloatArray, old_G: FloatArray) -> McNemarTest:
    """Compare two systems by their right (1) and wrong (0) outcomes per dialogue."""
    gained, lost = _num_changed(new_G, old_G)
    p = float(stats.binomtest(lost, gained + lost).pvalue) if gained + lost else 1.0
    return McNemarTest(gained, lost, p)


def one_sided_sign_test(new_G: FloatArray, old_G: FloatArray) -> float:
    """Exact one-sided p-value of "the new system is not better", from right (1) and wrong (0) outcomes per dialogue."""
    test = mcnemar(new_G, old_G)
    return float(stats.binom.sf(test.gained - 1, test.gained + test.lost, 0.5)) if test.gained else 1.0


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple tests, so that the family-wise error rate holds (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def _compact(sums_GK: FloatArray) -> Any:
    """The sums, as a sparse array if nearly all are 0: a text has few of the labels that a metric sums over."""
    is_sparse = sums_GK.shape[1] > MIN_SPARSE_COLUMNS and np.count_nonzero(sums_GK) < MAX_DENSITY * sums_GK.size
    return sparse.csr_array(sums_GK) if is_sparse else sums_GK


def _batches(resamples: int, size: int) -> list[int]:
    """Split the resamples into batches whose arrays stay small."""
    batch = max(1, min(resamples, 4_000_000 // max(1, size)))
    return [batch] * (resamples // batch) + ([resamples % batch] if resamples % batch else [])


def _studentized_bootstrap(
    sums_GK: FloatArray, value: MetricFunction, gradient: MetricGradient, resamples: int, seed: int
) -> StudentizedBootstrap:
    count, nothing = len(sums_GK), np.empty(0)
    if count < MIN_DIALOGUES:
        return StudentizedBootstrap(count, count, float("nan"), float("nan"), nothing)
    estimate_1, error_1, scale_1 = _with_standard_error(sums_GK, value, gradient, np.ones((1, count)))
    estimate, error = float(estimate_1[0]), float(error_1[0])
    if not error > 1e-12 * max(abs(estimate), float(scale_1[0])):  # rounding leaves an error of equal systems
        return StudentizedBootstrap(count, count, estimate, 0.0, nothing)
    rng = np.random.default_rng(seed)
    quotients = []
    for size in _batches(resamples, count):
        weights_RG = rng.multinomial(count, np.full(count, 1 / count), size).astype(np.float64)
        value_R, error_R, _ = _with_standard_error(sums_GK, value, gradient, weights_RG)
        # If the systems differ on few dialogues, many resamples have none of these, and an error of 0 or of rounding.
        quotients.append((value_R - estimate) / np.maximum(error_R, MIN_RESAMPLE_ERROR * error))
    return StudentizedBootstrap(count, count, estimate, error, np.sort(np.concatenate(quotients)))


def _with_standard_error(
    sums_GK: FloatArray, value: MetricFunction, gradient: MetricGradient, weights_RG: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The metric of weighted dialogues, its standard error (infinitesimal jackknife), and the size of its terms."""
    compact_GK = _compact(sums_GK)
    totals_RK = weights_RG @ compact_GK
    value_R = value(totals_RK)
    slopes_RK = gradient(totals_RK)
    if slopes_RK is None:
        slopes_RK = _finite_differences(sums_GK, value, totals_RK, value_R)
    influence_RG = slopes_RK @ compact_GK.T - (slopes_RK * totals_RK).sum(axis=1, keepdims=True) / len(sums_GK)
    scale_R = np.abs(slopes_RK * totals_RK).sum(axis=1)
    return value_R, np.sqrt((weights_RG * influence_RG**2).sum(axis=1)), scale_R


def _finite_differences(
    sums_GK: FloatArray, value: MetricFunction, totals_RK: FloatArray, value_R: FloatArray
) -> FloatArray:
    """Derivatives of the metric, `(R, K)`; 0 for sums that are 0 in all dialogues."""
    slopes_RK = np.zeros_like(totals_RK)
    for column, size in enumerate(np.abs(sums_GK).sum(axis=0)):
        if size:
            moved_RK = totals_RK.copy()
            moved_RK[:, column] += 1e-6 * size
            slopes_RK[:, column] = (value(moved_RK) - value_R) / (1e-6 * size)
    return slopes_RK
