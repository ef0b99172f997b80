"""Tests and intervals for the failure rates of two groups, valid at every look: a canary beside the serving version.

`OddsRatioTest` needs the counts of both groups between two looks. Given their totals, the failures of the first group
have a hypergeometric distribution if the rates are equal (Fisher 1935), and Fisher's noncentral one if the odds of the
first group are exp(η) times as high. The ratio of the two, multiplied over the looks and averaged over several η, is
the e-value (Robbins 1970; Turner, Ly and Grünwald 2024). The rate itself cancels out, so it may change from look to
look, as in an outage that hits both groups, and so may the share of the first group.

`difference_interval` needs only the counts since the start. It is wider, because both rates are estimated.

One answer must not depend on another of its group. Answers of one conversation often fail together: count
conversations, or expect more false alarms (`benchmarks/gate_errors.py`).
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, gammaln, logsumexp

from turnwise.core.errors import InvalidParameter
from turnwise.evaluation.confidence_sequences import Side
from turnwise.evaluation.metric import FloatArray
from turnwise.evaluation.statistics import ConfidenceInterval

LOG_ODDS_RATIOS = (0.3, 0.6, 1.2, 2.4)  # η of the alternatives: odds from 1.3 to 11 times as high
MAX_COUNT = 10_000  # trials of a group between two looks; the work grows with them


@dataclass(frozen=True, slots=True)
class BinomialCount:
    """Failures among trials. Raises `InvalidParameter` for impossible counts."""

    failures: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.failures <= self.trials:
            raise InvalidParameter("failures", f"{self.failures} failures of {self.trials} trials are impossible.")


@dataclass(frozen=True, slots=True)
class OddsRatioTest:
    """Test of whether the first of two groups fails more often, continued from look to look.

    Attributes:
        higher: log likelihood ratios of the alternatives that the first group fails more often, one for each of
            `LOG_ODDS_RATIOS`. They are all that a later look needs.
        lower: the same for the alternatives that it fails less often.
    """

    higher: tuple[float, ...] = (0.0,) * len(LOG_ODDS_RATIOS)
    lower: tuple[float, ...] = (0.0,) * len(LOG_ODDS_RATIOS)

    def update(self, first: BinomialCount, second: BinomialCount) -> "OddsRatioTest":
        """The test after the trials since the last look. Looks at 10 trials or more lose at most a tenth of the power.

        Raises `InvalidParameter` for more than `MAX_COUNT` trials in a group.
        """
        if max(first.trials, second.trials) > MAX_COUNT:
            raise InvalidParameter("trials", f"Look at least every {MAX_COUNT:,} trials.")
        failures = first.failures + second.failures
        growth = [
            eta * first.failures - _log_normalizer(first.trials, second.trials, failures, eta)
            for eta in LOG_ODDS_RATIOS
        ]
        decline = [
            -eta * first.failures - _log_normalizer(first.trials, second.trials, failures, -eta)
            for eta in LOG_ODDS_RATIOS
        ]
        return replace(
            self,
            higher=tuple(ratio + step for ratio, step in zip(self.higher, growth, strict=True)),
            lower=tuple(ratio + step for ratio, step in zip(self.lower, decline, strict=True)),
        )

    def e_value(self, side: Side = "lower") -> float:
        """E-value against the null hypothesis; reject it at 1 / alpha.

        Args:
            side: "lower": the first group does not fail more often, so that a rejection gives a lower bound of the
                difference. "upper": it does not fail less often. "both": the rates are equal.
        """
        higher, lower = (math.exp(min(700.0, _log_mean_exp(ratios))) for ratios in (self.higher, self.lower))
        return {"lower": higher, "upper": lower, "both": (higher + lower) / 2}[side]

    def rejects(self, alpha: float, side: Side = "lower") -> bool:
        """Whether the null hypothesis is rejected at this look. Once rejected, it stays so for whoever remembers it."""
        return self.e_value(side) >= 1 / alpha


def difference_interval(
    first: BinomialCount, second: BinomialCount, alpha: float, side: Side = "both"
) -> ConfidenceInterval:
    """Interval of the difference of the failure rates, first − second, that holds at all looks at once.

    It joins the confidence sequences of both rates (a beta-binomial mixture, Robbins 1970), with alpha / 2 each.

    Args:
        first, second: counts since the start.
        alpha: probability that the difference is ever outside.
        side: "lower" or "upper": the other end is −1 or 1. "both": two bounds, with alpha / 2 each.
    """
    # Both bounds of both rates use alpha / 4; a single bound of the difference needs one bound of each rate.
    level = alpha / 4 if side == "both" else alpha / 2
    low = rate_bound(first, level, "lower") - rate_bound(second, level, "upper") if side != "upper" else -1.0
    high = rate_bound(first, level, "upper") - rate_bound(second, level, "lower") if side != "lower" else 1.0
    return ConfidenceInterval(low, high)


def rate_bound(count: BinomialCount, alpha: float, side: Side) -> float:
    """Bound of a failure rate that holds at all looks at once; `side` is "lower" or "upper".

    The mixture is Jeffreys' Beta(1/2, 1/2) over all rates: the bound is where its likelihood is 1 / alpha times that of
    the rate.
    """
    if count.trials == 0:
        return 0.0 if side == "lower" else 1.0
    successes = count.trials - count.failures
    mixture = float(betaln(count.failures + 0.5, successes + 0.5) - betaln(0.5, 0.5))

    def excess(rate: float) -> float:
        """Log of the e-value against this rate, minus its threshold."""
        likelihood = count.failures * math.log(rate) + successes * math.log1p(-rate)
        return mixture - likelihood - math.log(1 / alpha)

    estimate = min(max(count.failures / count.trials, 1e-12), 1 - 1e-12)
    end = 1e-12 if side == "lower" else 1 - 1e-12
    if excess(end) <= 0 or abs(estimate - end) < 1e-9:
        return 0.0 if side == "lower" else 1.0
    return float(brentq(excess, end, estimate) if side == "lower" else brentq(excess, estimate, end))


def _log_mean_exp(values: tuple[float, ...]) -> float:
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(value - largest) for value in values) / len(values))


@lru_cache(maxsize=100_000)
def _log_normalizer(first: int, second: int, failures: int, eta: float) -> float:
    """Log of the mean of exp(η u) over the hypergeometric distribution of the failures u of the first group."""
    failures_U = np.arange(max(0, failures - second), min(first, failures) + 1, dtype=np.float64)
    log_weight_U = _log_choose(first, failures_U) + _log_choose(second, failures - failures_U)
    return float(logsumexp(log_weight_U + eta * failures_U) - logsumexp(log_weight_U))


def _log_choose(total: int, chosen_U: FloatArray) -> FloatArray:
    return np.asarray(gammaln(total + 1) - gammaln(chosen_U + 1) - gammaln(total - chosen_U + 1))
