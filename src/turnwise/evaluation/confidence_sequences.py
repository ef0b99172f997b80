"""Confidence sequences and tests that stay valid however often one looks, and whenever one stops.

A test by betting multiplies an e-value: the capital of a gambler who starts with 1 and plays against the null
hypothesis. Under the null hypothesis the capital is a supermartingale, so it reaches 1 / alpha with a probability of at
most alpha, at any time (Ville 1939). The null hypothesis is rejected when it does.

`MeanTest` and `mean_confidence_sequence` are about the mean of bounded values, such as paired differences of two
systems (Waudby-Smith and Ramdas 2024). The gambler splits the capital between constant bets, so nothing is tuned, and
the e-value does not depend on the order of the values. Proportions of two groups: `proportion_sequences.py`.

Shapes: T values in the order of their arrival, M candidate means, B bets.
"""

from typing import Literal

import numpy as np

from turnwise.core.errors import InvalidParameter
from turnwise.evaluation.metric import FloatArray

Side = Literal["lower", "upper", "both"]

# Shares of the largest allowed bet. The best bet on a small mean is about mean / variance, so they are geometric.
BETS_B = np.array([0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 0.95])
MAX_CANDIDATES = 4_000_000  # elements of the largest temporary array
GRID = 1_000  # steps of the candidate means between the lowest and the highest value


def mean_e_values(values_T: FloatArray, mean: float, *, lowest: float, highest: float) -> FloatArray:
    """E-values against "the mean is at most `mean`", one after every value, shape `(T)`.

    The mean is that of every value given the values before it; values need not be independent or of one distribution.

    Args:
        values_T: bounded values.
        mean: mean of the null hypothesis, from `lowest` up to, not including, `highest`.
        lowest, highest: bounds of the values.

    Raises `InvalidParameter` if a value is outside the bounds, or the bounds are not in order.
    """
    unit_T = _to_unit(values_T, lowest, highest)
    return _capital(unit_T, np.array([(mean - lowest) / (highest - lowest)]))[:, 0]


def mean_confidence_sequence(
    values_T: FloatArray, alpha: float, *, lowest: float, highest: float, side: Side = "both"
) -> tuple[FloatArray, FloatArray]:
    """Bounds of the mean after every value, `(T)` each; all of them hold at once with a probability of 1 − alpha.

    Bounds are rounded outwards to 1/1000 of the range, and never widen with more values.

    Args:
        values_T: bounded values.
        alpha: probability that the mean is ever outside.
        lowest, highest: bounds of the values.
        side: "lower" or "upper": only this bound, and the other one is `lowest` or `highest`. "both": two bounds, with
            alpha / 2 each.

    Raises as `mean_e_values`.
    """
    unit_T = _to_unit(values_T, lowest, highest)
    level = alpha / 2 if side == "both" else alpha
    low_T, high_T = np.zeros(len(unit_T)), np.ones(len(unit_T))
    if side != "upper":
        low_T = _lower_bounds(unit_T, level)
    if side != "lower":
        high_T = 1 - _lower_bounds(1 - unit_T, level)
    width = highest - lowest
    return lowest + width * low_T, lowest + width * high_T


def _to_unit(values_T: FloatArray, lowest: float, highest: float) -> FloatArray:
    """Map the values to 0…1."""
    if not lowest < highest:
        raise InvalidParameter("lowest", f"The lowest value must be below the highest, got {lowest:g} and {highest:g}.")
    values_T = np.asarray(values_T, dtype=np.float64)
    if len(values_T) and not (values_T.min() >= lowest and values_T.max() <= highest):
        raise InvalidParameter("values", f"All values must be between {lowest:g} and {highest:g}.")
    return (values_T - lowest) / (highest - lowest)


def _capital(unit_T: FloatArray, mean_M: FloatArray) -> FloatArray:
    """Capital against "the mean is at most m", `(T, M)`.

    A bet of λ multiplies the capital by 1 + λ (x − m), which has an expectation of at most 1 if the mean is at most m.
    It stays positive for λ < 1 / m. What falls below the smallest float is lost, which only makes the test stricter.
    """
    safe_M = np.maximum(mean_M, 1e-9)  # of a mean of 0, any positive value is a contradiction
    factor_TMB = 1 + BETS_B * (unit_T[:, None, None] / safe_M[:, None] - 1)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.cumprod(factor_TMB, axis=0).mean(axis=2))


def _lower_bounds(unit_T: FloatArray, alpha: float) -> FloatArray:
    """The largest mean of the grid up to which every mean was rejected at some time so far."""
    mean_M = np.arange(GRID) / GRID
    bound_T = np.zeros(len(unit_T))
    size = max(1, MAX_CANDIDATES // max(1, len(unit_T) * len(BETS_B)))
    for start in range(0, GRID, size):
        block_M = mean_M[start : start + size]
        is_rejected_TM = np.maximum.accumulate(_capital(unit_T, block_M), axis=0) >= 1 / alpha
        # The capital falls with m, so the rejected means are those below the bound.
        bound_T = np.maximum(bound_T, (is_rejected_TM * block_M).max(axis=1))
        if not is_rejected_TM.any():
            break
    return bound_T
