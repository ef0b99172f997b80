"""Calibration of class probabilities: how far they are from the shares of right predictions, and how to correct them.

Shapes: N texts, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from turnwise.evaluation.metric import FloatArray

NUM_BINS = 15  # as Guo et al. 2017
TEMPERATURES = (0.05, 20.0)  # range that is searched


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predictions of similar confidence.

    Attributes:
        confidence: mean probability of the predicted class.
        accuracy: share of right predictions.
        count: number of predictions.
    """

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the probabilities of a classifier are from the shares of right predictions.

    Attributes:
        error: expected calibration error.
        confidence: mean probability of the predicted class.
        accuracy: share of right predictions.
        count: number of predictions.
        bins: the predictions by confidence.
    """

    error: float
    confidence: float
    accuracy: float
    count: int
    bins: tuple[ReliabilityBin, ...]


def measure_calibration(confidence_N: FloatArray, is_right_N: NDArray[np.bool_]) -> Calibration:
    """Measure the calibration of at least one prediction.

    Args:
        confidence_N: probability of the predicted class.
        is_right_N: whether it is the true class.
    """
    return Calibration(
        expected_calibration_error(confidence_N, is_right_N),
        float(confidence_N.mean()),
        float(is_right_N.mean()),
        len(confidence_N),
        tuple(reliability_bins(confidence_N, is_right_N)),
    )


def reliability_bins(
    confidence_N: FloatArray, is_right_N: NDArray[np.bool_], num_bins: int = NUM_BINS
) -> list[ReliabilityBin]:
    """Group predictions by confidence into bins of equal width; empty bins are left out. Arguments as above."""
    bin_N = np.minimum((confidence_N * num_bins).astype(np.int64), num_bins - 1)
    return [
        ReliabilityBin(float(confidence_N[chosen].mean()), float(is_right_N[chosen].mean()), int(chosen.sum()))
        for chosen in (bin_N == number for number in range(num_bins))
        if chosen.any()
    ]


def expected_calibration_error(
    confidence_N: FloatArray, is_right_N: NDArray[np.bool_], num_bins: int = NUM_BINS
) -> float:
    """Mean distance of confidence and accuracy over all predictions (ECE, Naeini et al. 2015), from 0 to 1."""
    bins = reliability_bins(confidence_N, is_right_N, num_bins)
    return sum(entry.count * abs(entry.confidence - entry.accuracy) for entry in bins) / len(is_right_N)


def fit_temperature(logits_NK: FloatArray, targets_N: NDArray[np.int64]) -> float:
    """The temperature T for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017, section 4.2).

    Above 1 the classifier is overconfident. Predicted classes do not change.

    Args:
        logits_NK: logits of held-out texts.
        targets_N: their classes.
    """

    def cross_entropy(log_temperature: float) -> float:
        log_probabilities_NK = special.log_softmax(logits_NK / np.exp(log_temperature), axis=1)
        return float(-log_probabilities_NK[np.arange(len(targets_N)), targets_N].mean())

    low, high = np.log(TEMPERATURES)
    result = optimize.minimize_scalar(cross_entropy, bounds=(low, high), method="bounded")
    return float(np.exp(result.x))


def out_of_scope_threshold(in_scope_N: FloatArray, max_false_alarms: float) -> float:
    """The score below which a text counts as "none of these".

    Args:
        in_scope_N: scores of held-out texts that belong to one of the classes, such as probability or energy.
        max_false_alarms: share of such texts that may fall below the threshold.

    Returns:
        The largest threshold that keeps this share.
    """
    ordered_N = np.sort(in_scope_N)
    allowed = int(np.floor(max_false_alarms * len(ordered_N) + 1e-9))  # 0.29 * 100 is below 29
    return float(ordered_N[min(allowed, len(ordered_N) - 1)])
