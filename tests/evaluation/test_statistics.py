"""Confidence intervals have their nominal coverage, and tests their nominal false positive rate."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.evaluation.metric import ratio
from turnwise.evaluation.statistics import (
    bootstrap_difference,
    bootstrap_interval,
    holm_correction,
    mcnemar,
    newcombe_interval,
    one_sided_sign_test,
    permutation_test,
    wilson_interval,
)

NUM_EXPERIMENTS = 500


def nats_per_token(sums_XK):
    return ratio(sums_XK[..., 0], sums_XK[..., 1])


def simulate(seed, count, increase=0.0):
    """Nats and tokens of dialogues for a new and an old model, each `(G, 2)`.

    Lengths and difficulty of the dialogues differ a lot. The old model has 2 nats per token, the new one
    `2 * (1 + increase)`.
    """
    rng = np.random.default_rng(seed)
    num_tokens, difficulty = rng.geometric(0.05, count) + 1.0, rng.gamma(4, 0.5, count)
    nats_by_model = [num_tokens * difficulty * factor * rng.gamma(50, 1 / 50, count) for factor in (1 + increase, 1)]
    return [np.stack([nats, num_tokens], axis=1) for nats in nats_by_model]


def coverage(run_experiment):
    """Share of experiments whose interval contains the true value; an experiment returns both."""
    experiments = (run_experiment(seed) for seed in range(NUM_EXPERIMENTS))
    return sum(interval.low <= truth <= interval.high for interval, truth in experiments) / NUM_EXPERIMENTS


@pytest.mark.slow
def test_95_percent_of_the_intervals_of_a_difference_contain_the_true_difference():
    def run_experiment(seed):
        new, old = simulate(seed, 60, increase=0.03)
        return bootstrap_difference(new, old, nats_per_token, resamples=999, seed=seed).interval(), 0.06

    assert 0.93 <= coverage(run_experiment) <= 0.97


@pytest.mark.slow
def test_95_percent_of_the_intervals_of_a_value_contain_the_true_value():
    def run_experiment(seed):
        return bootstrap_interval(simulate(seed, 400)[1], nats_per_token, resamples=999, seed=seed), 2.0

    assert 0.93 <= coverage(run_experiment) <= 0.97


@pytest.mark.parametrize(("count", "truth"), [(60, 0.3), (100, 0.95)])
def test_95_percent_of_the_intervals_of_a_proportion_contain_the_true_proportion(count, truth):
    def run_experiment(seed):
        outcomes = (np.random.default_rng(seed).random(count) < truth).astype(float)
        return wilson_interval(outcomes), truth

    assert 0.93 <= coverage(run_experiment) <= 0.97


@pytest.mark.costly
@pytest.mark.parametrize(("lost", "gained"), [(0.03, 0.0), (0.02, 0.01), (0.1, 0.05)])
def test_intervals_of_a_difference_of_proportions_have_nominal_coverage_for_small_changes(lost, gained):
    def run_experiment(seed):
        uniform = np.random.default_rng(seed).random((2, 100))
        old = uniform[0] < 0.6
        new = np.where(old, uniform[1] >= lost / 0.6, uniform[1] < gained / 0.4)
        return newcombe_interval(new.astype(float), old.astype(float)), gained - lost

    assert 0.93 <= coverage(run_experiment) <= 0.99


@pytest.mark.parametrize("num_changed", [1, 2])
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_an_interval_stays_finite_if_two_systems_differ_on_few_dialogues(num_changed, noise):
    old = np.stack([np.full(120, 20.0), np.full(120, 10.0)], axis=1)
    new = old.copy()
    new[:, 0] += np.random.default_rng(0).normal(0, noise, 120)
    new[:num_changed, 0] += 3.0
    difference = num_changed * 3.0 / 1200

    interval = bootstrap_difference(new, old, nats_per_token).interval()

    # One of 120 dialogues is compatible with a share of 0.02 to 4.6 % (exact binomial interval).
    assert -difference < interval.low <= difference
    assert 2 * difference < interval.high < 15 * difference


@pytest.mark.slow
def test_the_permutation_test_calls_5_percent_of_equal_models_different():
    p_values = [
        permutation_test(*simulate(seed, 100), nats_per_token, resamples=999, seed=seed)
        for seed in range(NUM_EXPERIMENTS)
    ]
    assert 0.03 <= np.mean(np.array(p_values) < 0.05) <= 0.07


def test_the_permutation_test_approximates_the_exact_test_over_all_permutations():
    rng = np.random.default_rng(0)
    new, old = rng.random((8, 1)), rng.random((8, 1)) - 0.2

    def total(sums_XK):
        return sums_XK[..., 0]

    differences = (new - old)[:, 0]
    permuted = [abs((differences * np.array(signs)).sum()) for signs in itertools.product((-1, 1), repeat=8)]
    exact = np.mean(np.array(permuted) >= abs(differences.sum()) - 1e-12)
    assert permutation_test(new, old, total, resamples=20_000) == pytest.approx(exact, abs=0.01)


class TestOneSidedPValues:
    @pytest.mark.slow
    def test_equal_models_have_a_small_p_value_as_often_as_it_says(self):
        p_values = [
            bootstrap_difference(*simulate(seed, 60), nats_per_token, resamples=499, seed=seed).p_value_above()
            for seed in range(2000)
        ]
        shares = [np.mean(np.array(p_values) <= alpha) for alpha in (0.05, 0.02, 0.01, 0.002)]
        assert shares[0] == pytest.approx(0.06, abs=0.02)  # slightly liberal, as the intervals are
        assert shares[1:] == pytest.approx([0.02, 0.01, 0.002], abs=0.008)

    @given(st.integers(0, 50), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
    def test_the_p_value_is_small_exactly_if_the_lower_bound_is_above_the_limit(self, seed, level):
        bootstrap = bootstrap_difference(*simulate(seed, 30, increase=0.1), nats_per_token, resamples=1999)
        low, step = bootstrap.interval(level).low, 0.1 * bootstrap.error
        alpha = (1 - level) / 2
        assert bootstrap.p_value_above(low - step) <= alpha + 0.005
        assert bootstrap.p_value_above(low + step) >= alpha - 0.005

    def test_p_values_fall_beyond_the_resolution_of_the_resamples(self):
        p_values = [
            bootstrap_difference(*simulate(0, 100, increase), nats_per_token, resamples=999).p_value_above()
            for increase in (0.05, 0.1, 0.2, 0.3)
        ]
        assert p_values == sorted(p_values, reverse=True)
        assert p_values[-1] < 1e-6

    def test_the_opposite_difference_has_the_opposite_p_value(self):
        bootstrap = bootstrap_difference(*simulate(1, 50), nats_per_token, resamples=999)
        assert bootstrap.p_value_above() + bootstrap.negated().p_value_above() == pytest.approx(1, abs=0.01)

    def test_equal_differences_are_tested_by_their_signs(self):
        old = simulate(0, 10)[1]
        old[:, 1] = 1
        new = old + np.array([1.0, 0.0])
        assert bootstrap_difference(new, old, nats_per_token).p_value_above() == 0.5**10
        assert bootstrap_difference(old, new, nats_per_token).p_value_above() == 1

    @pytest.mark.parametrize("num_changed", [1, 3, 5])
    def test_few_changed_dialogues_are_no_stronger_evidence_than_their_signs(self, num_changed):
        old = simulate(0, 120)[1]
        new = old.copy()
        new[:num_changed, 0] += np.linspace(3, 4, num_changed)
        assert bootstrap_difference(new, old, nats_per_token).p_value_above() >= 0.5**num_changed

    @pytest.mark.parametrize(("gained", "lost", "p_value"), [(5, 0, 1 / 32), (2, 1, 0.5), (0, 3, 1.0), (0, 0, 1.0)])
    def test_the_sign_test_counts_gained_and_lost_dialogues(self, gained, lost, p_value):
        new = np.array([1.0] * gained + [0.0] * lost + [1.0] * 4)
        old = np.array([0.0] * gained + [1.0] * lost + [1.0] * 4)
        assert one_sided_sign_test(new, old) == pytest.approx(p_value)


class TestEdgeCases:
    def test_the_interval_of_equal_dialogues_is_a_point(self):
        interval = bootstrap_interval(np.ones((9, 2)) * [3, 4], nats_per_token)
        assert (interval.low, interval.high) == (0.75, 0.75)

    def test_equal_results_have_the_difference_0_and_the_p_value_1(self):
        _, old = simulate(0, 50)
        interval = bootstrap_difference(old, old, nats_per_token).interval()
        assert (interval.low, interval.high) == (0, 0)
        assert permutation_test(old, old, nats_per_token) == 1

    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_fewer_than_five_dialogues_have_no_interval(self, count):
        assert np.isnan(bootstrap_interval(simulate(0, count)[0], nats_per_token).low)

    def test_the_newcombe_interval_equals_the_published_example(self):
        """Newcombe 1998, table II, method 10: 36, 12, 2 and 0 of 50."""
        new = np.array([1] * 36 + [1] * 12 + [0] * 2 + [0] * 0, float)
        old = np.array([1] * 36 + [0] * 12 + [1] * 2 + [0] * 0, float)
        interval = newcombe_interval(new, old)
        assert (interval.low, interval.high) == pytest.approx((0.0569, 0.3404), abs=5e-4)

    def test_the_wilson_interval_of_only_correct_outcomes_extends_below_1(self):
        assert 0.9 < wilson_interval(np.ones(50)).low < 0.95
        assert wilson_interval(np.ones(50)).high == pytest.approx(1)

    def test_the_seed_determines_the_interval(self):
        new, old = simulate(3, 40)
        first, same_seed, other_seed = (
            bootstrap_difference(new, old, nats_per_token, seed=seed).interval() for seed in (4, 4, 5)
        )
        assert first == same_seed
        assert first != other_seed


def test_mcnemar_is_the_sign_test_of_the_changed_outcomes():
    new, old = np.array([1, 1, 1, 1, 1, 0, 0, 1]), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    test = mcnemar(new, old)
    assert (test.gained, test.lost) == (5, 1)
    assert test.p_value == pytest.approx(14 / 64)
    assert mcnemar(new, new).p_value == 1


def test_holm_correction_of_three_p_values():
    assert holm_correction([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_correction([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_correction_never_decreases_a_p_value_and_preserves_the_order(p_values):
    adjusted = holm_correction(p_values)
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert all(p <= p_adjusted <= min(1, len(p_values) * p) + 1e-12 for p, p_adjusted in pairs)
    for (p, p_adjusted), (next_p, next_adjusted) in itertools.pairwise(pairs):
        assert p == next_p or p_adjusted <= next_adjusted


@given(seed=st.integers(0, 99), count=st.integers(5, 30))
def test_a_difference_and_its_opposite_have_opposite_intervals(seed, count):
    new, old = simulate(seed, count, increase=0.2)
    interval, opposite = (
        bootstrap_difference(*pair, nats_per_token, resamples=199).interval() for pair in ((new, old), (old, new))
    )
    assert (interval.low, interval.high) == pytest.approx((-opposite.high, -opposite.low), rel=1e-3, abs=1e-6)
    p_value, opposite_p_value = (
        permutation_test(*pair, nats_per_token, resamples=199) for pair in ((new, old), (old, new))
    )
    assert p_value == opposite_p_value
