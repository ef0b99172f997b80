"""Calibrates a classifier of texts: temperature on held-out texts, threshold for texts of none of its labels.

Shapes: N texts, M texts of no label, K labels, L logits (see `models/classifier_outputs.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from turnwise.app.text_classifier import TextClassifier
from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.data.annotations.annotated import LabeledText
from turnwise.evaluation import statistics
from turnwise.evaluation.classification.calibration import (
    TEMPERATURES,
    expected_calibration_error,
    fit_temperature,
    out_of_scope_threshold,
)
from turnwise.evaluation.statistics import ConfidenceInterval
from turnwise.models.classifier_config import ClassifierConfig, ThresholdScore
from turnwise.models.classifier_outputs import find_refused, in_scope_scores, label_probabilities

MIN_TEXTS = 20  # with a label; one temperature is fitted to them


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """How a threshold tells texts of no label from others, on the texts of the calibration.

    Attributes:
        false_alarms: share of the texts with a label that are refused.
        recall: share of the texts of no label that are refused; None without such texts.
        recall_interval: its Wilson interval.
        accuracy: share of the texts with a label that get the right one; refused ones do not.
    """

    false_alarms: float
    accuracy: float
    recall: float | None = None
    recall_interval: ConfidenceInterval | None = None


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """A calibrated config, and what it changes.

    Attributes:
        config: the config with the new temperature, threshold and score.
        num_texts: number of texts with a label.
        num_out_of_scope: number of texts of no label.
        error_before, error_after: expected calibration error of the texts with a label.
        before, after: the old threshold and the new one.
        is_at_limit: the temperature is at an end of the range that is searched.
    """

    config: ClassifierConfig
    num_texts: int
    num_out_of_scope: int
    error_before: float
    error_after: float
    before: ThresholdResult
    after: ThresholdResult
    is_at_limit: bool


def check_can_calibrate(config: ClassifierConfig) -> None:
    """Raise `InvalidParameter` for a classifier that has no temperature and threshold to fit."""
    if config.task != "sequence_classification":
        raise InvalidParameter("model", "This model tags words; only classifiers of texts can be calibrated.")
    if config.is_multi_label:
        raise InvalidParameter(
            "model", "This classifier predicts several labels; only classifiers that predict one can be calibrated."
        )
    if config.num_logits < 2:
        raise InvalidParameter("model", "This classifier has one label, so there is nothing to calibrate.")


def calibrate_classifier(
    classifier: TextClassifier,
    texts: Sequence[LabeledText],
    out_of_scope: Sequence[str] = (),
    *,
    max_false_alarms: float | None = None,
) -> CalibrationResult:
    """Fit temperature and threshold to held-out texts.

    Without texts of no label and without `max_false_alarms` no threshold is chosen: one on the energy stays, one on the
    probability is removed, because the temperature changes probabilities.

    Args:
        classifier: a classifier that predicts one label.
        texts: texts with one known label each, or with none if they belong to none.
        out_of_scope: more texts that belong to none.
        max_false_alarms: largest share of the texts with a label that may be refused.

    Raises:
        InvalidData: there are too few texts with a label.
    """
    config = classifier.config
    in_scope = [text for text in texts if text.labels]
    outside = [text.text for text in texts if not text.labels] + list(out_of_scope)
    if len(in_scope) < MIN_TEXTS:
        raise InvalidData(f"There are {len(in_scope)} texts with a known label; at least {MIN_TEXTS} are needed.")
    targets_N = np.array([config.labels.index(text.labels[0]) for text in in_scope])
    logits_NL, _ = classifier.text_logits([text.text for text in in_scope])
    logits_ML, _ = classifier.text_logits(outside)
    temperature = fit_temperature(logits_NL.astype(np.float64), targets_N)
    calibrated = replace(config, temperature=temperature)
    if max_false_alarms is not None:
        score: ThresholdScore = "energy" if config.none_label is None else "probability"
        calibrated = replace(calibrated, threshold_score=score)
        threshold = out_of_scope_threshold(in_scope_scores(logits_NL, calibrated), max_false_alarms)
        calibrated = replace(calibrated, threshold=threshold)
    elif config.threshold_score == "probability" and config.threshold:
        calibrated = replace(calibrated, threshold=None)  # its scale was that of the old temperature
    return CalibrationResult(
        calibrated,
        len(in_scope),
        len(outside),
        _calibration_error(logits_NL, targets_N, config),
        _calibration_error(logits_NL, targets_N, calibrated),
        _threshold_result(logits_NL, targets_N, logits_ML, config),
        _threshold_result(logits_NL, targets_N, logits_ML, calibrated),
        is_at_limit=not 1.01 * TEMPERATURES[0] < temperature < 0.99 * TEMPERATURES[1],
    )


def _calibration_error(logits_NL: NDArray[np.float32], targets_N: NDArray[np.int64], config: ClassifierConfig) -> float:
    probabilities_NK = label_probabilities(logits_NL, config)
    return expected_calibration_error(probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1) == targets_N)


def _threshold_result(
    logits_NL: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    logits_ML: NDArray[np.float32],
    config: ClassifierConfig,
) -> ThresholdResult:
    is_refused_N, is_refused_M = (find_refused(logits, config) for logits in (logits_NL, logits_ML))
    is_right_N = (label_probabilities(logits_NL, config).argmax(axis=1) == targets_N) & ~is_refused_N
    false_alarms, accuracy = float(is_refused_N.mean()), float(is_right_N.mean())
    if not len(is_refused_M):
        return ThresholdResult(false_alarms, accuracy)
    interval = statistics.wilson_interval(is_refused_M.astype(np.float64))
    return ThresholdResult(false_alarms, accuracy, float(is_refused_M.mean()), interval)
