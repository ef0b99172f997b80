"""Two classifiers on the same cases: the difference, its interval and its tests."""

import numpy as np
import pytest
from turnwise.evaluation.classification.comparison import compare_entities, compare_labels


def test_equal_classifiers_do_not_differ():
    labels = ["a", "b"] * 20
    comparison = compare_labels(labels, labels, labels)
    assert (comparison.new, comparison.difference, comparison.p_value) == (1.0, 0.0, 1.0)
    assert (comparison.mcnemar.gained, comparison.mcnemar.lost) == (0, 0)


def test_the_interval_of_a_clear_difference_is_above_zero():
    rng = np.random.default_rng(0)
    targets = ["a"] * 300
    new = ["a" if rng.random() < 0.9 else "b" for _ in targets]
    old = ["a" if rng.random() < 0.7 else "b" for _ in targets]
    comparison = compare_labels(targets, new, old)
    assert comparison.new == new.count("a") / 300
    assert 0 < comparison.interval.low < comparison.difference < comparison.interval.high
    assert comparison.p_value < 0.01
    assert comparison.mcnemar.gained - comparison.mcnemar.lost == new.count("a") - old.count("a")


def test_entities_are_compared_by_sentence():
    targets = [["B-PER", "O"], ["B-LOC", "I-LOC"]] * 10
    old = [["B-PER", "O"], ["B-LOC", "O"]] * 10
    comparison = compare_entities(targets, targets, old)
    assert (comparison.new, comparison.old) == (1.0, pytest.approx(0.5))
    assert (comparison.mcnemar.gained, comparison.mcnemar.lost) == (10, 0)
    assert comparison.p_value < 0.01
