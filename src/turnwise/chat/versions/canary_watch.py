"""Decides whether a canary has to end. It can only end one, never promote it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from turnwise.core.model_versions import VersionOutcomes

MIN_TRIALS = 10  # answers between two looks; a look at fewer costs power
MAX_TRIALS = 10_000  # of one version in one look


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Failures among trials."""

    failures: int
    trials: int


class RateTest(Protocol):
    """A test of whether the canary fails more often, which is continued from look to look.

    It is repeated until the canary ends, so its false alarm rate has to hold over all looks together.
    """

    def update(self, canary: FailureCount, serving: FailureCount) -> bool:
        """Add the trials since the last look. Returns True if the canary's rate is significantly higher."""


@dataclass(frozen=True, slots=True)
class _Figure:
    """A rate that is compared."""

    phrase: str
    count: Callable[[VersionOutcomes], FailureCount]


_FIGURES = (
    _Figure("of its answers failed", lambda outcomes: FailureCount(outcomes.errors, outcomes.answers)),
    _Figure("of its answers were slow", lambda outcomes: FailureCount(outcomes.slow, outcomes.answers)),
    _Figure("of its rated answers were disliked", lambda outcomes: FailureCount(outcomes.disliked, outcomes.rated)),
)
NUM_FIGURES = len(_FIGURES)  # tests that run beside each other, among which the false alarm rate is divided


class CanaryWatch:
    """Compares the outcomes of one canary with those of the serving version.

    Missing or few outcomes never end a canary.
    """

    def __init__(self, new_test: Callable[[], RateTest]) -> None:
        """Start to watch a canary; `new_test` makes the test of one figure."""
        self._comparisons = [_Comparison(figure, new_test()) for figure in _FIGURES]

    def look(self, canary: VersionOutcomes, serving: VersionOutcomes) -> str | None:
        """Why the canary has to end, as a sentence; None if nothing is significantly worse.

        Args:
            canary: all outcomes of the canary so far.
            serving: all outcomes of the serving version in the same time.
        """
        for comparison in self._comparisons:
            if (reason := comparison.look(canary, serving)) is not None:
                return reason
        return None


class _Comparison:
    """One figure with its test, and what the test has seen."""

    def __init__(self, figure: _Figure, test: RateTest) -> None:
        self._figure, self._test = figure, test
        self._canary_seen = self._serving_seen = FailureCount(0, 0)

    def look(self, canary: VersionOutcomes, serving: VersionOutcomes) -> str | None:
        canary_count, serving_count = self._figure.count(canary), self._figure.count(serving)
        if canary_count.trials < self._canary_seen.trials or serving_count.trials < self._serving_seen.trials:
            # The registry has counted anew after a change of the routing that this server has not followed, such as a
            # shadow that cannot be loaded. The test goes on: none of these answers was seen before.
            self._canary_seen = self._serving_seen = FailureCount(0, 0)
        new_canary, new_serving = _news(canary_count, self._canary_seen), _news(serving_count, self._serving_seen)
        if not new_canary.trials or not new_serving.trials or new_canary.trials + new_serving.trials < MIN_TRIALS:
            return None
        self._canary_seen, self._serving_seen = (
            _sum(self._canary_seen, new_canary),
            _sum(self._serving_seen, new_serving),
        )
        if not self._test.update(new_canary, new_serving):
            return None
        serving_percent = _percent(self._serving_seen)
        return f"{_percent(self._canary_seen)} {self._figure.phrase}; of the serving version {serving_percent}."


def _news(count: FailureCount, seen: FailureCount) -> FailureCount:
    """Trials and failures since the last look.

    A changed rating adds a failure without a trial, or removes one; it then counts at a later look with enough trials.
    Of more trials than a look may have, as after a restart, the later looks get the rest, all with the same rate.
    """
    trials = max(count.trials - seen.trials, 0)
    failures = min(max(count.failures - seen.failures, 0), trials)
    if trials > MAX_TRIALS:
        return FailureCount(round(failures * MAX_TRIALS / trials), MAX_TRIALS)
    return FailureCount(failures, trials)


def _sum(first: FailureCount, second: FailureCount) -> FailureCount:
    return FailureCount(first.failures + second.failures, first.trials + second.trials)


def _percent(count: FailureCount) -> str:
    return f"{100 * count.failures / count.trials:.1f} % ({count.failures} of {count.trials})"
