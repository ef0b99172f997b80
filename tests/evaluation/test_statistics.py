"""Intervals hold the truth as often as they say, and differences by chance are taken for real as rarely."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.evaluation.metric import ratio
from turnwise.evaluation.statistics import (
    bootstrap_difference_interval,
    bootstrap_interval,
    holm_correction,
    mcnemar,
    newcombe_interval,
    permutation_test,
    wilson_interval,
)

EXPERIMENTS = 500


def by(totals_XK):
    return ratio(totals_XK[..., 0], totals_XK[..., 1])


def dialogues(seed, count, rise=0.0):
    """Nats and tokens of dialogues by two models: lengths and difficulty differ a lot. In truth there are 2 a token."""
    rng = np.random.default_rng(seed)
    tokens, hard = rng.geometric(0.05, count) + 1.0, rng.gamma(4, 0.5, count)
    both = [tokens * hard * factor * rng.gamma(50, 1 / 50, count) for factor in (1 + rise, 1)]
    return [np.stack([nats, tokens], axis=1) for nats in both]


def share_that_holds(make):
    """Of so many experiments, those whose interval holds the truth."""
    found = (make(seed) for seed in range(EXPERIMENTS))
    return sum(one.low <= truth <= one.high for one, truth in found) / EXPERIMENTS


@pytest.mark.slow
def test_intervals_of_differences_hold_the_truth_95_times_of_100():
    def make(seed):
        new, old = dialogues(seed, 60, rise=0.03)
        return bootstrap_difference_interval(new, old, by, resamples=999, seed=seed), 0.06

    assert 0.93 <= share_that_holds(make) <= 0.97


@pytest.mark.slow
def test_intervals_of_values_hold_the_truth_95_times_of_100():
    def make(seed):
        return bootstrap_interval(dialogues(seed, 400)[1], by, resamples=999, seed=seed), 2.0

    assert 0.93 <= share_that_holds(make) <= 0.97


@pytest.mark.parametrize(("count", "truth"), [(60, 0.3), (100, 0.95)])
def test_intervals_of_shares_hold_the_truth_95_times_of_100(count, truth):
    def make(seed):
        right = (np.random.default_rng(seed).random(count) < truth).astype(float)
        return wilson_interval(right), truth

    assert 0.93 <= share_that_holds(make) <= 0.97


@pytest.mark.parametrize(("lost", "gained"), [(0.03, 0.0), (0.02, 0.01), (0.1, 0.05)])
def test_intervals_of_differences_of_shares_hold_the_truth_also_where_little_changes(lost, gained):
    def make(seed):
        dice = np.random.default_rng(seed).random((2, 100))
        old = dice[0] < 0.6
        new = np.where(old, dice[1] >= lost / 0.6, dice[1] < gained / 0.4)
        return newcombe_interval(new.astype(float), old.astype(float)), gained - lost

    assert 0.93 <= share_that_holds(make) <= 0.99


@pytest.mark.slow
def test_of_500_pairs_of_equals_about_25_seem_different():
    found = [permutation_test(*dialogues(seed, 100), by, resamples=999, seed=seed) for seed in range(EXPERIMENTS)]
    assert 0.03 <= np.mean(np.array(found) < 0.05) <= 0.07


def test_exchanging_is_fishers_exact_test_where_all_exchanges_can_be_counted():
    rng = np.random.default_rng(0)
    new, old = rng.random((8, 1)), rng.random((8, 1)) - 0.2

    def total(totals_XK):
        return totals_XK[..., 0]

    apart = (new - old)[:, 0]
    every = [abs((apart * np.array(signs)).sum()) for signs in itertools.product((-1, 1), repeat=8)]
    exact = np.mean(np.array(every) >= abs(apart.sum()) - 1e-12)
    assert permutation_test(new, old, total, resamples=20_000) == pytest.approx(exact, abs=0.01)


class TestEdges:
    def test_dialogues_that_are_all_alike_leave_a_point(self):
        same = np.ones((9, 2)) * [3, 4]
        assert (bootstrap_interval(same, by).low, bootstrap_interval(same, by).high) == (0.75, 0.75)

    def test_two_that_are_the_same_differ_by_nothing(self):
        _, old = dialogues(0, 50)
        found = bootstrap_difference_interval(old, old, by)
        assert (found.low, found.high) == (0, 0)
        assert permutation_test(old, old, by) == 1

    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_a_few_dialogues_tell_nothing(self, count):
        assert np.isnan(bootstrap_interval(dialogues(0, count)[0], by).low)

    def test_newcombes_own_example(self):
        """His table II, method 10: 36, 12, 2, 0 of 50."""
        new = np.array([1] * 36 + [1] * 12 + [0] * 2 + [0] * 0, float)
        old = np.array([1] * 36 + [0] * 12 + [1] * 2 + [0] * 0, float)
        found = newcombe_interval(new, old)
        assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=5e-4)

    def test_all_right_is_not_surely_all_right(self):
        assert 0.9 < wilson_interval(np.ones(50)).low < 0.95
        assert wilson_interval(np.ones(50)).high == pytest.approx(1)

    def test_the_same_seed_gives_the_same_interval(self):
        new, old = dialogues(3, 40)
        assert bootstrap_difference_interval(new, old, by, seed=4) == bootstrap_difference_interval(
            new, old, by, seed=4
        )
        assert bootstrap_difference_interval(new, old, by, seed=4) != bootstrap_difference_interval(
            new, old, by, seed=5
        )


def test_mcnemar_is_the_sign_test_of_what_changed():
    new, old = np.array([1, 1, 1, 1, 1, 0, 0, 1]), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    found = mcnemar(new, old)
    assert (found.gained, found.lost) == (5, 1)
    assert found.p_value == pytest.approx(14 / 64)
    assert mcnemar(new, new).p_value == 1


def test_holms_correction_on_his_own_terms():
    assert holm_correction([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_correction([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_makes_nothing_likelier_and_keeps_the_order(chances):
    found = holm_correction(chances)
    assert all(p <= corrected <= min(1, len(chances) * p) + 1e-12 for p, corrected in zip(chances, found, strict=True))
    for one, other in itertools.combinations(range(len(chances)), 2):
        if chances[one] < chances[other]:
            assert found[one] <= found[other]


@given(seed=st.integers(0, 99), count=st.integers(5, 30))
def test_a_difference_and_its_opposite_have_opposite_intervals(seed, count):
    new, old = dialogues(seed, count, rise=0.2)
    there = bootstrap_difference_interval(new, old, by, resamples=199)
    back = bootstrap_difference_interval(old, new, by, resamples=199)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), rel=1e-3, abs=1e-6)
    assert permutation_test(new, old, by, resamples=199) == permutation_test(old, new, by, resamples=199)
