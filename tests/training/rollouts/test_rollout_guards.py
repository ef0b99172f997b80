"""The guards of training on sampled replies."""

from dataclasses import replace

import pytest

from turnwise.training.rollouts.guards import GuardLimits, Guards, ReplyFigures

START = ReplyFigures(0.5, 10.0, 12.0, 0.6, 30.0, 0.75, 1.0)


def reason_after(*figures, limits=None):
    guards = Guards(limits or GuardLimits())
    guards.start = START
    return [guards.check(entry) for entry in figures][-1]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"distinct_2": 0.47}, "variety"),
        ({"mean_words": 14.0}, "length"),
        ({"mean_words": 10.0}, "length"),
        ({"gate_pass": 0.54}, "gates"),
        ({"loss": 1.06}, "cross-entropy"),
        ({"pair_accuracy": 0.96}, "nearly all"),
        ({"pair_accuracy": 0.51}, "too few"),
    ],
)
def test_a_guard_trips_at_the_second_validation_in_a_row(change, word):
    bad = replace(START, **change)
    assert reason_after(bad) is None
    assert word in reason_after(bad, bad)
    assert reason_after(bad, START, bad) is None


@pytest.mark.parametrize(
    "change", [{"distinct_2": 0.48}, {"mean_words": 13.5}, {"gate_pass": 0.56}, {"loss": 1.04}, {"pair_accuracy": None}]
)
def test_changes_within_the_limits_go_on(change):
    good = replace(START, **change)
    assert reason_after(good, good, good) is None


def test_a_restored_guard_counts_on():
    bad = replace(START, mean_words=20.0)
    first = Guards(GuardLimits())
    first.start = START
    first.check(bad)
    second = Guards(GuardLimits())
    second.load_state(first.state())
    assert second.check(bad) is not None
