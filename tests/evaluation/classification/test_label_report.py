"""Classification reports agree with a count by hand, and with each other."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.evaluation.classification.classifier_metrics import entity_sums, f1
from turnwise.evaluation.classification.label_report import report_entities, report_labels, report_tokens

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
sentences = st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=6),
                     min_size=1, max_size=6)  # fmt: skip


def columns(pairs):
    return [[target for target, _ in sentence] for sentence in pairs], [
        [tag for _, tag in sentence] for sentence in pairs
    ]


def test_scores_per_label_and_averages():
    report = report_labels(["a", "a", "a", "b"], ["a", "a", "b", "b"])
    a, b = report.labels
    assert (a.precision, a.recall, a.support) == (1.0, pytest.approx(2 / 3), 3)
    assert (b.precision, b.recall, b.support) == (0.5, 1.0, 1)
    assert (a.f1, b.f1) == (pytest.approx(0.8), pytest.approx(2 / 3))
    assert report.micro.f1 == 0.75
    assert report.macro.f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert report.weighted.f1 == pytest.approx((3 * 0.8 + 2 / 3) / 4)
    assert report.weighted.support == 4


def test_a_label_that_is_never_predicted_has_score_0():
    (a, b) = report_labels(["a", "b"], ["a", "a"]).labels
    assert (b.label, b.precision, b.recall, b.f1) == ("b", 0, 0, 0)
    assert a.recall == 1


@settings(deadline=None)
@given(sentences)
def test_the_micro_average_of_tokens_is_the_share_of_right_tokens(pairs):
    targets, predictions = columns(pairs)
    flat = [pair for sentence in pairs for pair in sentence]
    report = report_tokens(targets, predictions)
    assert report.micro.f1 == pytest.approx(sum(a == b for a, b in flat) / len(flat))
    assert report.micro.support == len(flat)


@settings(deadline=None)
@given(sentences)
def test_entity_scores_agree_with_a_count_of_entities(pairs):
    targets, predictions = columns(pairs)
    right, wrong, missed = totals = entity_sums(targets, predictions).sum(axis=0)
    micro = report_entities(targets, predictions).micro
    assert micro.support == right + missed
    if right + wrong + missed:
        assert micro.f1 == pytest.approx(f1(totals))


def test_an_entity_with_a_wrong_end_is_wrong():
    report = report_entities([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "O", "O", "B-LOC"]])
    assert {row.label: row.f1 for row in report.labels} == {"LOC": 1.0, "PER": 0.0}
    assert report.micro.f1 == 0.5


def test_without_entities_all_scores_are_0():
    report = report_entities([["O"]], [["O"]])
    assert (report.labels, report.micro.f1, report.micro.support) == ((), 0.0, 0)


def test_tables_have_a_row_per_label_and_average():
    report = report_labels(["yes|no", "b"], ["yes|no", "yes|no"])
    lines = report.as_table().splitlines()
    assert lines[0].split() == ["precision", "recall", "f1-score", "support"]
    assert lines[2].split() == ["b", "0.000", "0.000", "0.000", "1"]
    assert lines[-1].split() == ["weighted", "avg", "0.250", "0.500", "0.333", "2"]


def test_every_token_has_one_prediction():
    with pytest.raises(AssertionError):
        report_tokens([["O", "O"]], [["O"]])
