"""Bounds that hold at every look: false alarms stay below alpha, and improvements are seen almost as soon."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from turnwise.core.errors import InvalidParameter
from turnwise.evaluation.confidence_sequences import mean_confidence_sequence, mean_e_values

ALPHA = 0.05
units = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(np.array)


def paired_differences(rng, gained, lost, count=1000):
    """Differences of right (1) and wrong (0) outcomes of two systems on the same dialogues."""
    return rng.choice([1.0, -1.0, 0.0], count, p=[gained, lost, 1 - gained - lost])


def stopping_time(e_values):
    """The first look with a rejection; infinity if there is none."""
    rejections = np.flatnonzero(e_values >= 1 / ALPHA)
    return rejections[0] + 1 if len(rejections) else np.inf


@pytest.mark.costly
def test_equal_systems_looked_at_after_every_dialogue_are_seldom_called_different():
    rng = np.random.default_rng(0)
    runs = [mean_e_values(paired_differences(rng, 0.15, 0.15), 0, lowest=-1, highest=1) for _ in range(400)]
    assert np.mean([np.isfinite(stopping_time(run)) for run in runs]) <= ALPHA


@pytest.mark.costly
def test_a_t_test_at_every_dialogue_would_call_them_different_often():
    """The reason for confidence sequences."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        values = paired_differences(rng, 0.15, 0.15)
        count = np.arange(1, 1001)
        mean = np.cumsum(values) / count
        error = np.sqrt((np.cumsum(values**2) / count - mean**2).clip(1e-9) / count)
        alarms += bool((mean / error > norm.isf(ALPHA))[30:].any())
    assert alarms / 200 > 0.2


@pytest.mark.costly
@pytest.mark.parametrize(("gained", "lost"), [(0.2, 0.1), (0.15, 0.05), (0.3, 0.2)])
def test_ten_points_more_need_at_most_half_as_many_dialogues_again_as_a_test_of_fixed_size(gained, lost):
    rng = np.random.default_rng(1)
    times = [
        stopping_time(mean_e_values(paired_differences(rng, gained, lost, 2000), 0, lowest=-1, highest=1))
        for _ in range(200)
    ]
    effect = gained - lost
    fixed_size = (norm.isf(ALPHA) + norm.isf(0.2)) ** 2 * (gained + lost - effect**2) / effect**2
    assert np.mean(times) <= 1.5 * fixed_size


@pytest.mark.costly
def test_the_mean_is_outside_of_the_bounds_at_any_time_with_a_probability_of_at_most_alpha():
    rng = np.random.default_rng(2)
    misses = 0
    for _ in range(200):
        low, high = mean_confidence_sequence(rng.beta(2, 6, 100), ALPHA, lowest=0, highest=1)
        misses += bool((low > 0.25).any() or (high < 0.25).any())
    assert misses / 200 <= ALPHA


@given(units)
def test_bounds_contain_each_other_and_never_widen(values):
    low, high = mean_confidence_sequence(values, ALPHA, lowest=0, highest=1)
    assert ((low >= 0) & (high <= 1)).all()
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()


@given(units)
def test_both_bounds_mirror_each_other(values):
    low, high = mean_confidence_sequence(values, ALPHA, lowest=0, highest=1)
    mirrored_low, mirrored_high = mean_confidence_sequence(1 - values, ALPHA, lowest=0, highest=1)
    np.testing.assert_allclose(low, 1 - mirrored_high, atol=1e-9)
    np.testing.assert_allclose(high, 1 - mirrored_low, atol=1e-9)


@given(units, st.randoms(use_true_random=False))
def test_the_e_value_does_not_depend_on_the_order(values, random):
    shuffled = random.sample(list(values), len(values))
    last, last_shuffled = (mean_e_values(np.array(x), 0.4, lowest=0, highest=1)[-1] for x in (values, shuffled))
    assert last == pytest.approx(last_shuffled, rel=1e-6)


@given(st.floats(0.01, 0.9), st.integers(1, 6))
def test_the_expected_e_value_of_a_coin_with_the_mean_of_the_hypothesis_is_1(mean, count):
    """Summed over all outcomes of `count` throws."""
    total = 0.0
    for number in range(2**count):
        throws = np.array([(number >> bit) & 1 for bit in range(count)], float)
        probability = np.prod(np.where(throws == 1, mean, 1 - mean))
        if probability:
            total += probability * mean_e_values(throws, mean, lowest=0, highest=1)[-1]
    assert total == pytest.approx(1, abs=1e-6)


def test_one_bound_alone_is_tighter_than_both():
    values = np.random.default_rng(3).random(200)
    low, high = mean_confidence_sequence(values, ALPHA, lowest=0, highest=1)
    only_low, highest = mean_confidence_sequence(values, ALPHA, lowest=0, highest=1, side="lower")
    assert only_low[-1] > low[-1]
    assert (highest == 1).all()
    assert high[-1] < 1


@pytest.mark.parametrize("bounds", [(0, 1), (1, -1)])
def test_values_outside_of_the_bounds_are_rejected(bounds):
    with pytest.raises(InvalidParameter):
        mean_e_values(np.array([-0.5, 0.5]), 0, lowest=bounds[0], highest=bounds[1])
