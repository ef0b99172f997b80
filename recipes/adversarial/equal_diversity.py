"""Compares two arms at equal diversity.

Sampling at a lower temperature gives better and more uniform replies, so one temperature compares nothing (Caccia et
al. 2020). Each arm has a curve of quality over distinct-2, one point per temperature. The curve of the arm is
interpolated at the distinct-2 of the reference arm's points; points outside the arm's range are left out. The
differences at the other points are averaged.

Sums of an arm are those of its seeds together, and both arms answer the same dialogues, so the bootstrap is paired.

Shapes: G dialogues, T temperatures, K sums of the quality metric, X sets of sums, Q compared points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.evaluation.metric import FloatArray, MetricDefinition, ratio
from turnwise.evaluation.metrics.distinct_2 import Distinct2Metric
from turnwise.evaluation.statistics import ConfidenceInterval, bootstrap_interval, metric_value

NUM_RESAMPLES = 1_999
DIVERSITY_COLUMNS = 2  # sums of distinct-2


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference from the reference arm.

    Attributes:
        value: the difference, or the relative difference; NaN if the arms cannot be compared.
        interval: paired bootstrap interval over dialogues, 95 %.
        num_points: temperatures of the reference that are compared; 0 if the curves do not overlap.
    """

    value: float
    interval: ConfidenceInterval
    num_points: int


class CurveSums:
    """The sums of an arm's curve: for each temperature those of distinct-2, then those of the quality metric.

    Args:
        diversity: sums of distinct-2 by temperature, `(G, 2)` each.
        quality: sums of the quality metric by temperature, `(G, K)` each.
        metric: the quality metric.
    """

    def __init__(
        self, diversity: Sequence[FloatArray], quality: Sequence[FloatArray], metric: MetricDefinition
    ) -> None:
        self.metric, self.num_temperatures = metric, len(diversity)
        pairs = zip(diversity, quality, strict=True)
        self.sums_GK = np.concatenate([block_GK for pair in pairs for block_GK in pair], axis=1)

    def points(self, totals_XK: FloatArray) -> tuple[FloatArray, FloatArray]:
        """distinct-2 and quality for each temperature, `(X, T)` each."""
        shape = (*totals_XK.shape[:-1], self.num_temperatures, totals_XK.shape[-1] // self.num_temperatures)
        blocks_XTK = totals_XK.reshape(shape)
        return (
            Distinct2Metric().value(blocks_XTK[..., :DIVERSITY_COLUMNS]),
            self.metric.value(blocks_XTK[..., DIVERSITY_COLUMNS:]),
        )


def compare_at_equal_diversity(
    arm: CurveSums, reference: CurveSums, *, is_relative: bool, resamples: int = NUM_RESAMPLES
) -> Difference:
    """Difference of quality between an arm and the reference at equal distinct-2.

    Args:
        arm, reference: sums over the same dialogues.
        is_relative: divide the difference by the quality of the reference.
        resamples: bootstrap resamples.
    """
    width = arm.sums_GK.shape[1]
    arm_T, _ = arm.points(arm.sums_GK.sum(axis=0))
    reference_T, _ = reference.points(reference.sums_GK.sum(axis=0))
    compared_Q = np.flatnonzero((reference_T >= arm_T.min()) & (reference_T <= arm_T.max()))
    if not len(compared_Q):
        return Difference(float("nan"), ConfidenceInterval(float("nan"), float("nan")), 0)

    def value(totals_XK: FloatArray) -> FloatArray:
        diversity_XT, quality_XT = arm.points(totals_XK[..., :width])
        target_XT, reference_quality_XT = reference.points(totals_XK[..., width:])
        quality_X = interpolate(diversity_XT, quality_XT, target_XT[..., compared_Q]).mean(axis=-1)
        reference_X = reference_quality_XT[..., compared_Q].mean(axis=-1)
        return ratio(quality_X - reference_X, reference_X) if is_relative else quality_X - reference_X

    sums_GK = np.concatenate([arm.sums_GK, reference.sums_GK], axis=1)
    return Difference(
        metric_value(sums_GK, value), bootstrap_interval(sums_GK, value, resamples=resamples), len(compared_Q)
    )


def compare_values(
    arm_GK: FloatArray,
    reference_GK: FloatArray,
    metric: MetricDefinition,
    *,
    is_relative: bool,
    resamples: int = NUM_RESAMPLES,
) -> Difference:
    """Difference of a metric that has no curve, such as the perplexity, between an arm and the reference."""
    width = arm_GK.shape[1]

    def value(totals_XK: FloatArray) -> FloatArray:
        arm_X, reference_X = metric.value(totals_XK[..., :width]), metric.value(totals_XK[..., width:])
        return ratio(arm_X - reference_X, reference_X) if is_relative else arm_X - reference_X

    sums_GK = np.concatenate([arm_GK, reference_GK], axis=1)
    return Difference(metric_value(sums_GK, value), bootstrap_interval(sums_GK, value, resamples=resamples), 1)


def interpolate(x_XT: FloatArray, y_XT: FloatArray, targets_XQ: FloatArray) -> FloatArray:
    """Interpolate linearly between the points of each row, in the order of x; the end points beyond them.

    Returns:
        Values at the targets, `(X, Q)`.
    """
    order_XT = np.argsort(x_XT, axis=-1, kind="stable")
    x_XT, y_XT = np.take_along_axis(x_XT, order_XT, axis=-1), np.take_along_axis(y_XT, order_XT, axis=-1)
    if x_XT.shape[-1] == 1:
        return np.broadcast_to(y_XT, targets_XQ.shape).copy()
    # The segment of a target starts at the last point that is not beyond it.
    start_XQ = (x_XT[..., None, :] <= targets_XQ[..., :, None]).sum(axis=-1) - 1
    start_XQ = np.clip(start_XQ, 0, x_XT.shape[-1] - 2)
    pick = _picker(start_XQ)
    low_XQ, high_XQ = pick(x_XT, 0), pick(x_XT, 1)
    width_XQ = high_XQ - low_XQ
    share_XQ = np.where(width_XQ > 0, (targets_XQ - low_XQ) / np.where(width_XQ > 0, width_XQ, 1.0), 0.5)
    share_XQ = np.clip(share_XQ, 0.0, 1.0)
    return (1 - share_XQ) * pick(y_XT, 0) + share_XQ * pick(y_XT, 1)


def _picker(start_XQ: np.ndarray) -> Callable[[FloatArray, int], FloatArray]:
    def pick(values_XT: FloatArray, step: int) -> FloatArray:
        return np.take_along_axis(values_XT, start_XQ + step, axis=-1)

    return pick
