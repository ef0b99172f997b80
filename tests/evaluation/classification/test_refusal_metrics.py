"""Recall of none, wrong labels and refused texts are shares of the texts that they are about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.classification import LabelScore, TextLabels
from turnwise.data.annotations.annotated import LabeledText
from turnwise.evaluation import statistics
from turnwise.evaluation.classification.classifier_evaluation import evaluate_texts
from turnwise.evaluation.classification.refusal_metrics import refusal_metrics

SCORES = (LabelScore("a", 0.7), LabelScore("b", 0.2))


def text(label):
    return LabeledText("words", (label,) if label else ())


def prediction(label):
    return TextLabels((label,) if label else (), SCORES)


def values(targets, predictions):
    metrics = refusal_metrics([*map(text, targets)], [*map(prediction, predictions)])
    return {name: statistics.metric_value(sums.sums_GK, sums.metric.value) for name, sums in metrics.items()}


def test_shares_by_hand():
    targets, predictions = ["a", "a", "b", "b", "", "", ""], ["a", "b", "", "b", "", "", "a"]
    assert values(targets, predictions) == {"none_recall": 2 / 3, "wrong_label": 1 / 4, "refused": 1 / 4}


labels = st.sampled_from(["a", "b", ""])


@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=20))
def test_a_text_with_a_label_is_right_wrong_or_refused(pairs):
    targets, predictions = zip(*pairs, strict=True)
    results = values(targets, predictions)
    with_label = [pair for pair in pairs if pair[0]]
    assert ("none_recall" in results) == (len(with_label) < len(pairs))
    assert ("refused" in results) == bool(with_label)
    if with_label:
        right = sum(target == predicted for target, predicted in with_label) / len(with_label)
        assert results["wrong_label"] + results["refused"] + right == pytest.approx(1)


def evaluated(targets, *systems):
    model, base = (None if system is None else [*map(prediction, system)] for system in (*systems, None)[:2])
    return {row.name: row for row in evaluate_texts([*map(text, targets)], model, base, ["a", "b"]).scorecard.rows}


def test_a_report_has_them_if_a_text_has_no_label_or_gets_none():
    assert "refused" not in evaluated(["a", "b"], ["a", "a"])
    assert evaluated(["a", "b"], ["a", ""])["refused"].value == 0.5
    assert evaluated(["a", ""], ["a", "a"])["none_recall"].value == 0.0


def test_an_interval_counts_the_texts_that_a_share_is_about():
    row = evaluated(["a"] * 90 + [""] * 10, ["a"] * 90 + [""] * 10)["none_recall"]
    assert row.value == 1.0
    assert row.interval.low == pytest.approx(0.7225, abs=1e-4), "Wilson's interval of 10 of 10"


def test_a_base_that_refuses_nothing_is_compared():
    row = evaluated(["a", "b"], ["a", ""], ["a", "a"])["wrong_label"]
    assert (row.value, row.base_value, row.better) == (0.0, 0.5, "lower")
