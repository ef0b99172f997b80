"""A canary is looked at again and again: false alarms stay below alpha, and a worse canary is seen soon."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from turnwise.core.errors import InvalidParameter
from turnwise.evaluation.proportion_sequences import (
    BinomialCount,
    OddsRatioTest,
    difference_interval,
    rate_bound,
)

ALPHA = 0.05
counts = st.integers(0, 40).flatmap(lambda n: st.builds(BinomialCount, st.integers(0, n), st.just(n)))


def answers_until_alarm(rng, canary_rate, serving_rate, share, *, batch=20, max_answers=4000, serving_drift=None):
    """Answers of both versions until the canary is called worse; infinity if it is not."""
    test = OddsRatioTest()
    for start in range(0, max_answers, batch):
        if serving_drift is not None:
            canary_rate = serving_rate = serving_drift[start // batch % len(serving_drift)]
        canary_trials = rng.binomial(batch, share)
        canary = BinomialCount(rng.binomial(canary_trials, canary_rate), canary_trials)
        serving = BinomialCount(rng.binomial(batch - canary_trials, serving_rate), batch - canary_trials)
        test = test.update(canary, serving)
        if test.rejects(ALPHA):
            return start + batch
    return math.inf


def false_alarms(runs, **settings):
    rng = np.random.default_rng(0)
    return np.mean([math.isfinite(answers_until_alarm(rng, **settings)) for _ in range(runs)])


@pytest.mark.costly
@pytest.mark.parametrize(("rate", "share"), [(0.02, 0.1), (0.3, 0.1), (0.3, 0.5)])
def test_an_equal_canary_is_seldom_called_worse(rate, share):
    assert false_alarms(300, canary_rate=rate, serving_rate=rate, share=share) <= ALPHA


@pytest.mark.costly
def test_an_outage_of_both_versions_causes_no_alarm():
    settings = {"canary_rate": 0.02, "serving_rate": 0.02, "share": 0.2}
    assert false_alarms(300, **settings, serving_drift=[0.01] * 20 + [0.6] * 3) <= ALPHA


@pytest.mark.costly
@pytest.mark.parametrize(
    ("canary_rate", "serving_rate", "share"), [(0.12, 0.02, 0.1), (0.15, 0.05, 0.5), (0.4, 0.3, 0.5)]
)
def test_ten_points_more_failures_need_at_most_half_as_many_answers_again_as_a_test_of_fixed_size(
    canary_rate, serving_rate, share
):
    rng = np.random.default_rng(1)
    times = [answers_until_alarm(rng, canary_rate, serving_rate, share) for _ in range(200)]
    variance = canary_rate * (1 - canary_rate) / share + serving_rate * (1 - serving_rate) / (1 - share)
    fixed_size = (norm.isf(ALPHA) + norm.isf(0.2)) ** 2 * variance / (canary_rate - serving_rate) ** 2
    assert np.mean(times) <= 1.5 * fixed_size


@given(st.integers(0, 5), st.integers(0, 5), st.floats(0.01, 0.99), st.floats(0.3, 1.0))
def test_the_expected_e_value_is_at_most_1_if_the_first_group_fails_no_more_often(first, second, rate, factor):
    """Summed over all outcomes of two groups."""
    rates = (rate * factor, rate)
    expected = {"lower": 0.0, "both": 0.0}
    for failures in itertools.product(range(first + 1), range(second + 1)):
        probability = math.prod(
            binom.pmf(count, trials, group_rate)
            for count, trials, group_rate in zip(failures, (first, second), rates, strict=True)
        )
        test = OddsRatioTest().update(BinomialCount(failures[0], first), BinomialCount(failures[1], second))
        for side in expected:
            expected[side] += probability * test.e_value(side)
    assert expected["lower"] <= 1 + 1e-9
    if factor == 1:
        assert expected["both"] == pytest.approx(1)


@given(counts, counts)
def test_exchanging_the_groups_exchanges_the_sides(first, second):
    test, exchanged = OddsRatioTest().update(first, second), OddsRatioTest().update(second, first)
    assert test.e_value("lower") == pytest.approx(exchanged.e_value("upper"), rel=1e-6)
    assert test.e_value("both") == pytest.approx(exchanged.e_value("both"), rel=1e-6)


@given(counts)
def test_a_look_at_one_group_alone_changes_nothing(count):
    test = OddsRatioTest().update(count, BinomialCount(0, 0))
    assert test.e_value("lower") == pytest.approx(1)


@given(counts, st.floats(0.001, 0.2))
def test_a_rate_bound_is_beyond_the_observed_rate_and_wider_for_a_smaller_alpha(count, alpha):
    low, high = rate_bound(count, alpha, "lower"), rate_bound(count, alpha, "upper")
    assert rate_bound(count, alpha / 2, "lower") <= low
    assert rate_bound(count, alpha / 2, "upper") >= high
    if count.trials:
        assert low <= count.failures / count.trials <= high


@pytest.mark.costly
@pytest.mark.parametrize("rate", [0.03, 0.4])
def test_the_true_difference_is_always_inside_of_the_interval_of_counts(rate):
    rng = np.random.default_rng(2)
    misses = 0
    for _ in range(200):
        canary, serving = np.cumsum(rng.random((2, 300)) < rate, axis=1)
        for count in (10, 20, 50, 100, 200, 300):
            first, second = BinomialCount(int(canary[count - 1]), count), BinomialCount(int(serving[count - 1]), count)
            interval = difference_interval(first, second, ALPHA)
            if not interval.low <= 0 <= interval.high:
                misses += 1
                break
    assert misses / 200 <= ALPHA


def test_one_end_of_the_interval_alone_is_tighter():
    first, second = BinomialCount(60, 200), BinomialCount(20, 200)
    both = difference_interval(first, second, ALPHA)
    lower = difference_interval(first, second, ALPHA, "lower")
    assert both.low < lower.low
    assert lower.high == 1


@pytest.mark.parametrize(("failures", "trials"), [(3, 2), (-1, 2)])
def test_impossible_counts_are_rejected(failures, trials):
    with pytest.raises(InvalidParameter, match="impossible"):
        BinomialCount(failures, trials)
