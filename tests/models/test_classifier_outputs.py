"""Probabilities and in-scope scores from the logits of a classifier of texts."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import UserError
from turnwise.models.classifier_config import ClassifierConfig, read_classifier_config, write_calibration
from turnwise.models.classifier_outputs import find_refused, in_scope_scores, label_probabilities


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


def test_without_a_class_of_none_and_without_a_threshold_no_text_is_refused():
    assert not find_refused(np.array([[-9.0, -9.0], [5.0, 0.0]]), config()).any()


class TestAClassOfNone:
    logits = st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=1, max_size=5).map(np.array)

    @given(logits, st.floats(0.1, 10))
    def test_the_probabilities_of_the_labels_and_of_none_are_one_in_sum(self, logits_NL, temperature):
        none_first_NL = logits_NL[:, [2, 0, 1]]
        settings = {"none_label": "c", "temperature": temperature}
        of_labels_N = label_probabilities(logits_NL, config(**settings)).sum(axis=1)
        of_none_N = label_probabilities(none_first_NL, config(**settings))[:, 0]
        assert of_labels_N + of_none_N == pytest.approx(1)

    @given(logits)
    def test_a_text_is_refused_where_none_is_more_probable_than_every_label(self, logits_NL):
        is_refused_N = find_refused(logits_NL, config(none_label="c"))
        assert is_refused_N.tolist() == [logits_L[2] > max(logits_L[:2]) for logits_L in logits_NL]

    @given(logits, st.floats(-5, 5), st.floats(0.1, 10))
    def test_its_energy_is_the_log_odds_of_a_label(self, logits_NL, shift, temperature):
        energy = config(none_label="c", threshold_score="energy", temperature=temperature)
        scores_N = in_scope_scores(logits_NL, energy)
        of_labels_N = label_probabilities(logits_NL, config(none_label="c")).sum(axis=1)
        assert 1 / (1 + np.exp(-scores_N)) == pytest.approx(of_labels_N)
        assert in_scope_scores(logits_NL + shift, energy) == pytest.approx(scores_N, abs=1e-9)

    def test_a_threshold_replaces_the_comparison_with_none(self):
        logits_NL = np.array([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0]])
        settings = {"none_label": "c", "threshold_score": "energy"}
        assert find_refused(logits_NL, config(**settings, threshold=-9.0)).tolist() == [False, False]
        assert find_refused(logits_NL, config(**settings, threshold=9.0)).tolist() == [True, True]

    def test_it_is_read_back(self, tmp_path):
        config(none_label="c").save(tmp_path)
        assert read_classifier_config(tmp_path) == config(none_label="c")
        assert read_classifier_config(tmp_path).num_logits == 3


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
