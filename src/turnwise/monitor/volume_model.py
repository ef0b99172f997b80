"""Expected number of texts of a topic: season of the day times a level that follows the last day."""

from collections import deque
from collections.abc import Mapping, Sequence
from math import exp, sqrt
from typing import Any

from turnwise.monitor.detector_settings import SECONDS_PER_DAY, DetectorSettings
from turnwise.monitor.dispersion import LENGTHS, MAX_LENGTH, Dispersion
from turnwise.monitor.likelihood_ratios import count_llr, count_return_llr
from turnwise.monitor.season import Season
from turnwise.monitor.surge_model import Observation, SurgeModel

PRIOR_LEVEL_TEXTS = 50.0  # weight of the prior of the level, which is 1, in texts
PRIOR_DISPERSION, PRIOR_DISPERSION_WEIGHT = 0.02, 50.0
OUTLIER_DEVIATIONS, OUTLIER_TEXTS = 4.0, 3.0  # a window is learned as at most so much above what was expected


class VolumeModel(SurgeModel):
    """Texts per window as negative-binomial counts around a seasonal rate."""

    kind = "volume"

    def __init__(self, settings: DetectorSettings) -> None:
        self._settings = settings
        self._half_window = settings.window_seconds / 2
        self._level_decay = exp(-settings.window_seconds / (settings.level_hours * 3600))
        self._minimum_factor = sqrt(settings.surge_factor)
        self._season = Season(settings.history_days, settings.windows_per_day)
        self._dispersion = Dispersion(PRIOR_DISPERSION, PRIOR_DISPERSION_WEIGHT, settings.windows_per_day)
        self._level_texts = 0.0
        self._level_expected = 0.0
        self._run: deque[tuple[float, float]] = deque(maxlen=MAX_LENGTH)  # (texts, expected) of adjacent windows
        self._rate_variance = 0.0

    def begin_window(self, start: int) -> None:
        """See `SurgeModel`."""
        local = self._settings.local_seconds(start)
        self._season.begin_day(local // SECONDS_PER_DAY)
        self._rate_variance = self._season.relative_variance(local)

    def observe(self, start: int, texts: int, negative: int) -> Observation:  # noqa: ARG002
        """See `SurgeModel`."""
        base = self._season.rate(self._settings.local_seconds(start) + self._half_window)
        level = (self._level_texts + PRIOR_LEVEL_TEXTS) / (self._level_expected + PRIOR_LEVEL_TEXTS)
        return Observation(start, texts, texts, base * level, base)

    def learn(self, observation: Observation) -> None:
        """See `SurgeModel`."""
        expected, texts = observation.expected, self._limited_count(observation)
        self._season.learn(self._settings.local_seconds(observation.start), texts)
        if not expected:
            self._run.clear()
            return
        self._level_texts = self._level_texts * self._level_decay + texts
        self._level_expected = self._level_expected * self._level_decay + observation.base
        self._run.append((texts, expected))
        self._learn_dispersion()

    def learn_surge(self, observation: Observation) -> None:
        """See `SurgeModel`."""
        start = self._settings.local_seconds(observation.start)
        self._season.learn_surge(start, self._limited_count(observation))

    def _limited_count(self, observation: Observation) -> float:
        expected = observation.expected
        if not expected:
            return observation.count
        deviation = sqrt(expected + self._dispersion.value(0) * expected**2)
        return min(float(observation.count), expected + OUTLIER_DEVIATIONS * deviation + OUTLIER_TEXTS)

    def _learn_dispersion(self) -> None:
        index, total, total_expected = 0, 0.0, 0.0
        for length, (texts, expected) in enumerate(reversed(self._run), start=1):
            total += texts
            total_expected += expected
            if length == LENGTHS[index]:
                self._dispersion.add(index, (total - total_expected) ** 2 - total_expected, total_expected**2)
                index += 1

    def end_of_run(self) -> None:
        """See `SurgeModel`."""
        self._run.clear()

    def relearn_level(self, observations: Sequence[Observation]) -> None:
        """See `SurgeModel`."""
        texts, base = sum(window.count for window in observations), sum(window.base for window in observations)
        if not base:
            return
        weight = self._settings.level_hours * 3600 / self._settings.window_seconds / len(observations)
        self._level_texts, self._level_expected = weight * texts, weight * base

    def llr(self, count: int, texts: int, expected: float, index: int) -> float:  # noqa: ARG002
        """See `SurgeModel`."""
        if count < self._settings.minimum_count or count < self._minimum_factor * expected:
            return 0.0
        return count_llr(count, expected, self._dispersion.value(index) + self._rate_variance)

    def return_llr(self, observation: Observation, factor: float) -> float:
        """See `SurgeModel`."""
        if not observation.expected:
            return 0.0
        return count_return_llr(observation.count, observation.expected, factor, self._dispersion.value(0))

    def expected_value(self, observation: Observation) -> float:
        """See `SurgeModel`."""
        return observation.expected

    def summarize(self, count: int, texts: int, expected: float) -> tuple[float, float]:  # noqa: ARG002
        """Return expected and observed numbers of texts."""
        return expected, float(count)

    def state(self) -> dict[str, Any]:
        """See `SurgeModel`."""
        return {
            "season": self._season.state(),
            "dispersion": self._dispersion.state(),
            "level": [self._level_texts, self._level_expected],
            "run": [list(window) for window in self._run],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `SurgeModel`."""
        self._season.restore(state["season"])
        self._dispersion.restore(state["dispersion"])
        self._level_texts, self._level_expected = state["level"]
        self._run.extend((texts, expected) for texts, expected in state["run"])
