"""The test that ends a canary: an odds-ratio test that is valid at every look, one for each compared figure."""

from turnwise.chat.versions.canary_watch import NUM_FIGURES, FailureCount
from turnwise.evaluation.proportion_sequences import BinomialCount, OddsRatioTest

FALSE_ALARM_RATE = 0.05  # of a canary that is no worse, over all figures and all looks


class OddsRatioRateTest:
    """Rejects when the canary fails significantly more often (implements `canary_watch.RateTest`)."""

    def __init__(self) -> None:
        self._test = OddsRatioTest()

    def update(self, canary: FailureCount, serving: FailureCount) -> bool:
        """Add the trials since the last look. Returns True if the canary's rate is significantly higher."""
        self._test = self._test.update(_binomial(canary), _binomial(serving))
        return self._test.rejects(FALSE_ALARM_RATE / NUM_FIGURES, "lower")


def _binomial(count: FailureCount) -> BinomialCount:
    return BinomialCount(count.failures, count.trials)
