"""Metrics of classifiers agree with scikit-learn and with counts by hand, and compare two classifiers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from turnwise.core.classification import LabelScore, TextLabels
from turnwise.data.annotations.annotated import LabeledText
from turnwise.evaluation import statistics
from turnwise.evaluation.classification.classifier_metrics import MacroF1Metric, tag_metrics, text_metrics
from turnwise.evaluation.scorecard import build_scorecard

LABELS = ["a", "b", "c"]


def text(*labels):
    return LabeledText("words", labels)


def prediction(*labels, probabilities=(0.7, 0.2, 0.1)):
    return TextLabels(labels, tuple(map(LabelScore, LABELS, probabilities)))


def values(metrics):
    return {name: statistics.metric_value(sums.sums_GK, sums.metric.value) for name, sums in metrics.items()}


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=12))
@settings(deadline=None)
def test_macro_f1_is_that_of_scikit_learn(pairs):
    targets, predictions = zip(*pairs, strict=True)
    metrics = text_metrics([*map(text, targets)], [*map(prediction, predictions)], LABELS)
    assert values(metrics)["macro_f1"] == pytest.approx(f1_score(targets, predictions, average="macro"))
    assert values(metrics)["accuracy"] == pytest.approx(np.mean([a == b for a, b in pairs]))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4))
@settings(deadline=None)
def test_the_gradient_of_macro_f1_is_its_derivative(counts):
    metric = MacroF1Metric()
    right, wrong, missed = (np.array(column, dtype=float) for column in zip(*counts, strict=True))
    totals_K = np.concatenate([right, right + wrong, right + missed])
    gradient_K = metric.gradient(totals_K)
    number_labels = len(counts)
    for column in range(len(totals_K)):
        if not (totals_K[number_labels:].reshape(2, -1).sum(axis=0))[column % number_labels]:
            continue  # at a label that does not occur, the mean jumps
        moved_K = totals_K.copy()
        moved_K[column] += 1e-6
        difference = (metric.value(moved_K) - metric.value(totals_K)) / 1e-6
        assert gradient_K[column] == pytest.approx(difference, abs=1e-4)


def test_intervals_with_the_gradient_are_those_with_differences():
    rng = np.random.default_rng(0)
    targets = rng.choice(LABELS, 60)
    predictions = np.where(rng.random(60) < 0.7, targets, rng.choice(LABELS, 60))
    sums_GK = text_metrics([*map(text, targets)], [*map(prediction, predictions)], LABELS)["macro_f1"].sums_GK
    metric = MacroF1Metric()
    exact = statistics.bootstrap_interval(sums_GK, metric.value, gradient=metric.gradient, resamples=499)
    approximate = statistics.bootstrap_interval(sums_GK, metric.value, resamples=499)
    assert (exact.low, exact.high) == pytest.approx((approximate.low, approximate.high), abs=1e-3)


def test_many_labels_are_resampled_as_a_sparse_array(monkeypatch):
    rng = np.random.default_rng(0)
    labels = [f"label {number}" for number in range(40)]
    targets, new, old = (rng.choice(labels, 120) for _ in range(3))
    sums = [text_metrics([*map(text, targets)], [*map(prediction, side)], labels) for side in (new, old)]
    new_GK, old_GK = (side["macro_f1"].sums_GK for side in sums)
    metric = MacroF1Metric()

    def results():
        interval = statistics.bootstrap_difference(
            new_GK, old_GK, metric.value, gradient=metric.gradient, resamples=199
        ).interval()
        return interval.low, interval.high, statistics.permutation_test(new_GK, old_GK, metric.value, resamples=199)

    compact = results()
    monkeypatch.setattr(statistics, "MAX_DENSITY", 0)
    assert results() == pytest.approx(compact)


def test_a_text_without_a_label_is_right_if_none_is_predicted():
    metrics = text_metrics([text(), text(), text("a")], [prediction(), prediction("a"), prediction("a")], LABELS)
    assert values(metrics)["accuracy"] == pytest.approx(2 / 3)
    assert values(metrics)["macro_f1"] == pytest.approx(2 / 3)  # of label a: precision 1/2, recall 1
    assert values(metrics)["log_loss"] == pytest.approx(-np.log(0.7))  # of the text with a label


def test_there_is_no_log_loss_if_a_label_is_not_known():
    assert "log_loss" not in text_metrics([text("d")], [prediction("a")], [*LABELS, "d"])


def test_texts_with_several_labels_are_right_if_all_are():
    targets = [text("a", "b"), text("c"), text()]
    metrics = text_metrics(
        targets, [prediction("b", "a"), prediction("c", "a"), prediction()], LABELS, is_multi_label=True
    )
    assert values(metrics)["accuracy"] == pytest.approx(2 / 3)
    assert values(metrics)["micro_f1"] == pytest.approx(6 / 7)
    assert "log_loss" not in metrics


def test_entities_count_by_sentence_and_label():
    targets = [["B-PER", "I-PER", "O"], ["B-LOC", "O", "B-PER"]]
    predictions = [["B-PER", "O", "O"], ["B-LOC", "O", "B-PER"]]
    assert values(tag_metrics(targets, predictions, ["LOC", "PER"])) == {
        "entity_f1": pytest.approx(2 / 3),
        "entity_macro_f1": pytest.approx((1 + 1 / 2) / 2),
        "token_accuracy": pytest.approx(5 / 6),
        "sentence_accuracy": 0.5,
    }


@pytest.mark.parametrize(("labels", "deciding"), [(["PER"], {"entity_f1"}), ([], {"token_accuracy"})])
def test_the_verdict_depends_on_entities_or_on_words(labels, deciding):
    tag = "B-PER" if labels else "NN"
    metrics = tag_metrics([[tag]] * 6, [[tag]] * 6, labels)
    assert {name for name, sums in metrics.items() if sums.metric.COUNTS_FOR_VERDICT} == deciding


@pytest.fixture
def systems():
    """Predictions of a classifier with 90 % and one with 60 % right, for 200 texts."""
    rng = np.random.default_rng(0)
    targets = [*map(str, rng.choice(LABELS, 200))]
    return targets, *(
        [label if rng.random() < share else next(name for name in LABELS if name != label) for label in targets]
        for share in (0.9, 0.6)
    )


@pytest.mark.parametrize(("order", "verdict"), [((0, 1), "better"), ((1, 0), "worse"), ((0, 0), "no difference")])
def test_two_classifiers_get_a_verdict(systems, order, verdict):
    targets, *labels = systems
    texts = [*map(text, targets)]
    model, base = (text_metrics(texts, [*map(prediction, labels[number])], LABELS) for number in order)
    scorecard = build_scorecard(model, base, resamples=499)
    assert scorecard.verdict == verdict
    accuracy = scorecard.rows[0]
    new, old = (np.array(labels[number]) == targets for number in order)
    assert accuracy.difference == pytest.approx(new.mean() - old.mean())
    assert accuracy.difference_interval.low <= accuracy.difference <= accuracy.difference_interval.high
    assert (accuracy.mcnemar.gained, accuracy.mcnemar.lost) == ((new & ~old).sum(), (old & ~new).sum())
