"""The ratios are those of the distributions that they name, and the thresholds keep the rate of false alarms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from turnwise.monitor.dispersion import Dispersion
from turnwise.monitor.likelihood_ratios import count_llr, count_return_llr, share_llr, share_return_llr
from turnwise.monitor.score_tail import PEAK_LEVEL, ScoreTail
from turnwise.monitor.thresholds import llr_threshold


def nbinom(mean, dispersion):
    return stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))


@given(st.integers(1, 200), st.floats(0.1, 100), st.sampled_from([0.01, 0.1, 1.0]))
def test_counts_are_negative_binomial(count, expected, dispersion):
    exact = nbinom(count, dispersion).logpmf(count) - nbinom(expected, dispersion).logpmf(count)
    assert count_llr(count, expected, dispersion) == pytest.approx(exact if count > expected else 0, abs=1e-6)
    back = nbinom(expected, dispersion).logpmf(count) - nbinom(3 * expected, dispersion).logpmf(count)
    assert count_return_llr(count, expected, 3, dispersion) == pytest.approx(back, abs=1e-6)


@given(st.integers(1, 200), st.floats(0.1, 100))
def test_without_dispersion_counts_are_poisson(count, expected):
    exact = stats.poisson(count).logpmf(count) - stats.poisson(expected).logpmf(count)
    assert count_llr(count, expected, 0) == pytest.approx(exact if count > expected else 0, abs=1e-6)
    back = stats.poisson(expected).logpmf(count) - stats.poisson(3 * expected).logpmf(count)
    assert count_return_llr(count, expected, 3, 0) == pytest.approx(back, abs=1e-6)


@given(st.integers(1, 100), st.integers(0, 100), st.floats(0.05, 0.4))
def test_shares_are_binomial(negative, others, share):
    texts = negative + others
    exact = stats.binom(texts, negative / texts).logpmf(negative) - stats.binom(texts, share).logpmf(negative)
    expected = exact if negative > share * texts else 0
    assert share_llr(negative, texts, share * texts, 0) == pytest.approx(expected, abs=1e-6)
    back = stats.binom(texts, share).logpmf(negative) - stats.binom(texts, 2 * share).logpmf(negative)
    assert share_return_llr(negative, texts, share, 2 * share, 0) == pytest.approx(back, abs=1e-6)


@given(st.integers(20, 100), st.floats(0.001, 0.5))
def test_dispersion_weakens_evidence(count, dispersion):
    assert count_llr(count, 10, dispersion) < count_llr(count, 10, 0)
    assert share_llr(count, 120, 15, dispersion) < share_llr(count, 120, 15, 0)


@given(st.floats(1e-7, 1e-2), st.floats(0.001, 1000))
def test_rarer_alarms_need_a_higher_score(rate, expected):
    assert llr_threshold(rate / 2, expected) > llr_threshold(rate, expected)


def test_dispersion_is_recovered():
    rng = np.random.default_rng(0)
    dispersion = Dispersion(0.02, 50.0, windows_per_day=288)
    for count in rng.poisson(rng.gamma(5, 4, 4000)).tolist():  # mean 20, squared relative deviation 1/5
        dispersion.add(0, (count - 20) ** 2 - 20, 400)
    assert dispersion.value(0) == pytest.approx(0.2, rel=0.15)


def test_a_heavier_tail_of_scores_raises_the_threshold():
    rng = np.random.default_rng(0)
    light, heavy = ScoreTail(288), ScoreTail(288)
    for excess in rng.exponential(1, 150).tolist():
        for tail, scale in ((light, 1.0), (heavy, 1.6)):
            tail.add(PEAK_LEVEL + scale * excess)
            for _ in range(20):
                tail.add(0.0)
    rate = 150 / (150 * 21)
    assert light.threshold(rate / 100) == pytest.approx(PEAK_LEVEL + np.log(100), rel=0.15)
    assert heavy.threshold(rate / 100) > light.threshold(rate / 100) + 1


def test_peaks_that_raise_alerts_do_not_lower_the_threshold():
    """Excess with mean 2; the peaks above the threshold are censored. The threshold stays that of all peaks."""
    rng = np.random.default_rng(0)
    tail, rate = ScoreTail(288), 2e-4
    thresholds = []
    for excess in rng.exponential(2, 4000).tolist():
        tail.add(PEAK_LEVEL + excess)
        thresholds.append(max(llr_threshold(rate, 10), tail.threshold(rate)))
        if PEAK_LEVEL + excess >= thresholds[-1]:
            tail.censor_episode(thresholds[-1])
        for _ in range(60):
            tail.add(0.0)
    exact = PEAK_LEVEL + 2 * np.log(1 / 61 / rate)
    assert np.mean(thresholds[1000:]) == pytest.approx(exact, rel=0.04)
