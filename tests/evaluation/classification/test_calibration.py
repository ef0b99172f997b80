"""Calibration: errors of known probabilities, and the temperature that corrects them."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special

from turnwise.evaluation.classification.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    fit_temperature,
    out_of_scope_threshold,
    reliability_bins,
)


def sample(num_texts, temperature, seed=0):
    """Logits, and classes drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits_NK = rng.normal(scale=3.0, size=(num_texts, 5))
    probabilities_NK = special.softmax(logits_NK / temperature, axis=1)
    targets_N = np.array([rng.choice(5, p=row) for row in probabilities_NK])
    return logits_NK, targets_N


def test_the_error_is_the_distance_of_confidence_and_accuracy():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    targets = np.array([0, 1, 0, 1])
    confidences, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    assert reliability_bins(confidences, is_right, 10) == [ReliabilityBin(0.6, 1.0, 2), ReliabilityBin(0.9, 0.5, 2)]
    assert expected_calibration_error(confidences, is_right, 10) == pytest.approx((0.4 + 0.4) / 2)


def test_full_confidence_is_in_the_last_bin():
    assert reliability_bins(np.ones(3), np.array([True, True, False])) == [ReliabilityBin(1.0, pytest.approx(2 / 3), 3)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_the_classes_were_drawn_with_is_found(temperature):
    logits_NK, targets_N = sample(5000, temperature)
    fitted = fit_temperature(logits_NK, targets_N)
    assert fitted == pytest.approx(temperature, rel=0.1)
    corrected_NK = special.softmax(logits_NK / fitted, axis=1)
    assert expected_calibration_error(corrected_NK.max(axis=1), corrected_NK.argmax(axis=1) == targets_N) < 0.02


def test_the_temperature_of_a_perfect_classifier_is_bounded():
    assert 0.05 <= fit_temperature(np.eye(4), np.arange(4)) < 0.5


@given(st.integers(1, 300), st.integers(0, 100))
@example(100, 29)
def test_the_threshold_is_the_largest_that_keeps_the_share(num_texts, percent):
    """Shares such as 0.29 are not exact: 0.29 of 100 texts are 29."""
    threshold = out_of_scope_threshold(np.arange(num_texts, dtype=np.float64), percent / 100)
    assert threshold == min(percent * num_texts // 100, num_texts - 1)


@pytest.mark.parametrize(("max_false_alarms", "expected"), [(0.0, 0.1), (0.1, 0.2), (0.25, 0.3), (1.0, 1.0)])
def test_the_threshold_keeps_the_share_of_false_alarms(max_false_alarms, expected):
    confidences = np.arange(1, 11) / 10
    threshold = out_of_scope_threshold(confidences, max_false_alarms)
    assert threshold == pytest.approx(expected)
    assert (confidences < threshold).mean() <= max_false_alarms
