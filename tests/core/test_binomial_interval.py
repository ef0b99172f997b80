"""The Wilson interval, compared with SciPy."""

import pytest
from scipy.stats import binomtest

from turnwise.core.binomial_interval import wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (7, 10), (0, 40), (500, 1000)])
def test_the_interval_is_that_of_scipy(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_without_trials_every_share_is_possible():
    assert wilson_interval(0, 0) == (0.0, 1.0)
