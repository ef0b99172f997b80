"""Expected share of negative texts of a topic: the mean of the last days times the season of the day."""

from collections import deque
from collections.abc import Mapping, Sequence
from math import exp, sqrt
from typing import Any

from turnwise.monitor.detector_settings import SECONDS_PER_DAY, DetectorSettings
from turnwise.monitor.dispersion import LENGTHS, MAX_LENGTH, Dispersion
from turnwise.monitor.likelihood_ratios import share_llr, share_return_llr
from turnwise.monitor.share_season import ShareSeason
from turnwise.monitor.surge_model import Observation, SurgeModel

MEMORY_DAYS = 3.0
PRIOR_SHARE, PRIOR_TEXTS = 0.3, 10.0
PRIOR_DISPERSION, PRIOR_DISPERSION_WEIGHT = 0.005, 2000.0
MAX_SHARE = 0.95  # expected at most, so that a rise of it can be seen
OUTLIER_DEVIATIONS, OUTLIER_TEXTS = 4.0, 2.0  # a window is learned as at most so much above what was expected


class NegativeShareModel(SurgeModel):
    """Negative texts as overdispersed binomial counts around a slowly changing share."""

    kind = "negative_share"

    def __init__(self, settings: DetectorSettings) -> None:
        self._settings = settings
        self._windows_of_memory = MEMORY_DAYS * settings.windows_per_day
        self._decay = exp(-1 / self._windows_of_memory)
        self._minimum_factor = sqrt(settings.surge_factor)
        self._dispersion = Dispersion(PRIOR_DISPERSION, PRIOR_DISPERSION_WEIGHT, settings.windows_per_day)
        self._season = ShareSeason(settings.history_days, settings.windows_per_day)
        self._negative = 0.0
        self._texts = 0.0
        self._run: deque[tuple[float, int, float]] = deque(maxlen=MAX_LENGTH)  # (negative, texts, expected)

    def _share(self, start: int) -> float:
        mean = (self._negative + PRIOR_SHARE * PRIOR_TEXTS) / (self._texts + PRIOR_TEXTS)
        return min(MAX_SHARE, mean * self._season.ratio(self._settings.local_seconds(start)))

    def begin_window(self, start: int) -> None:
        """See `SurgeModel`."""
        self._season.begin_day(self._settings.local_seconds(start) // SECONDS_PER_DAY)

    def observe(self, start: int, texts: int, negative: int) -> Observation:
        """See `SurgeModel`."""
        share = self._share(start)
        return Observation(start, negative, texts, texts * share, share)

    def learn(self, observation: Observation) -> None:
        """See `SurgeModel`."""
        texts, negative = observation.texts, self._limited_count(observation)
        self._season.learn(self._settings.local_seconds(observation.start), negative, texts)
        self._negative = self._negative * self._decay + negative
        self._texts = self._texts * self._decay + texts
        self._run.append((negative, texts, observation.expected))
        self._learn_dispersion()

    def learn_surge(self, observation: Observation) -> None:
        """See `SurgeModel`."""
        start = self._settings.local_seconds(observation.start)
        self._season.learn_surge(start, self._limited_count(observation), observation.texts)

    def _limited_count(self, observation: Observation) -> float:
        texts, expected = observation.texts, observation.expected
        if not texts:
            return 0.0
        variance = expected * (1 - expected / texts) * (1 + (texts - 1) * self._dispersion.value(0))
        return min(float(observation.count), expected + OUTLIER_DEVIATIONS * sqrt(variance) + OUTLIER_TEXTS)

    def _learn_dispersion(self) -> None:
        index, total, total_texts, total_expected = 0, 0.0, 0, 0.0
        for length, (negative, texts, expected) in enumerate(reversed(self._run), start=1):
            total += negative
            total_texts += texts
            total_expected += expected
            if length == LENGTHS[index]:
                variance = total_expected * (1 - total_expected / total_texts) if total_texts else 0.0
                excess = (total - total_expected) ** 2 - variance
                self._dispersion.add(index, excess, (total_texts - 1) * variance)
                index += 1

    def end_of_run(self) -> None:
        """See `SurgeModel`."""
        self._run.clear()

    def relearn_level(self, observations: Sequence[Observation]) -> None:
        """See `SurgeModel`."""
        negative, texts = sum(window.count for window in observations), sum(window.texts for window in observations)
        if not texts:
            return
        weight = self._windows_of_memory / len(observations)
        self._negative, self._texts = weight * negative, weight * texts

    def _raised_share(self, share: float, factor: float) -> float:
        """Share after the share of negative texts rises, or the share of all others falls, by `factor`."""
        return min(factor * share, 1 - (1 - share) / factor)

    def llr(self, count: int, texts: int, expected: float, index: int) -> float:
        """See `SurgeModel`."""
        if count < self._settings.minimum_count or texts < self._settings.minimum_texts or count <= expected:
            return 0.0
        if count < texts * self._raised_share(expected / texts, self._minimum_factor):
            return 0.0
        rate_variance = 1 / (self._texts + PRIOR_TEXTS)
        return share_llr(count, texts, expected, self._dispersion.value(index) + rate_variance)

    def return_llr(self, observation: Observation, factor: float) -> float:
        """See `SurgeModel`."""
        share, dispersion = self._share(observation.start), self._dispersion.value(0)
        raised = self._raised_share(share, factor)
        return share_return_llr(observation.count, observation.texts, share, raised, dispersion)

    def expected_value(self, observation: Observation) -> float:
        """See `SurgeModel`."""
        return observation.base

    def summarize(self, count: int, texts: int, expected: float) -> tuple[float, float]:
        """Return the expected and the observed share, from 0 to 1."""
        return (expected / texts, count / texts) if texts else (0.0, 0.0)

    def state(self) -> dict[str, Any]:
        """See `SurgeModel`."""
        return {
            "season": self._season.state(),
            "negative": self._negative,
            "texts": self._texts,
            "dispersion": self._dispersion.state(),
            "run": [list(window) for window in self._run],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `SurgeModel`."""
        self._season.restore(state["season"])
        self._negative, self._texts = state["negative"], state["texts"]
        self._dispersion.restore(state["dispersion"])
        self._run.extend((negative, texts, expected) for negative, texts, expected in state["run"])
