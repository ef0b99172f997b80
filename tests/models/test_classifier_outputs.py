"""Probabilities and in-scope scores from the logits of a classifier of texts."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import UserError
from turnwise.models.classifier_config import ClassifierConfig, read_classifier_config, write_calibration
from turnwise.models.classifier_outputs import in_scope_scores, label_probabilities


def config(**settings):
    return ClassifierConfig("sequence_classification", ("a", "b"), **settings)


logits = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=5).map(np.array)


@given(logits, st.floats(0.1, 10), st.booleans())
def test_a_temperature_leaves_the_order_of_the_labels(logits_NK, temperature, is_multi_label):
    probabilities_NK = label_probabilities(logits_NK, config(temperature=temperature, is_multi_label=is_multi_label))
    assert ((probabilities_NK >= 0) & (probabilities_NK <= 1)).all()
    if not is_multi_label:
        assert probabilities_NK.sum(axis=1) == pytest.approx(1)
    larger_N = logits_NK[:, 0] > logits_NK[:, 1]
    assert (probabilities_NK[larger_N, 0] >= probabilities_NK[larger_N, 1]).all()


@given(logits, st.floats(-5, 5))
def test_the_energy_rises_with_all_logits_and_the_probability_does_not(logits_NK, shift):
    energy, probability = config(threshold_score="energy"), config()
    assert in_scope_scores(logits_NK + shift, energy) == pytest.approx(in_scope_scores(logits_NK, energy) + shift)
    assert in_scope_scores(logits_NK + shift, probability) == pytest.approx(in_scope_scores(logits_NK, probability))


def test_the_energy_does_not_depend_on_the_temperature():
    logits_NK = np.array([[1.0, 2.0]])
    scores = [in_scope_scores(logits_NK, config(threshold_score="energy", temperature=t)).item() for t in (1.0, 3.0)]
    assert scores[0] == scores[1] == pytest.approx(np.log(np.e + np.e**2))


def test_a_calibration_is_read_back(tmp_path):
    config().save(tmp_path)
    calibrated = config(temperature=1.5, threshold=-3.25, threshold_score="energy")
    write_calibration(tmp_path, calibrated)
    assert read_classifier_config(tmp_path) == calibrated


@pytest.mark.parametrize(
    ("field", "value"), [("threshold_score", "distance"), ("threshold", "high"), ("temperature", 0)]
)
def test_damaged_values_are_refused(tmp_path, field, value):
    config().save(tmp_path)
    path = tmp_path / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(UserError, match=f"'{field}' should be"):
        read_classifier_config(tmp_path)
