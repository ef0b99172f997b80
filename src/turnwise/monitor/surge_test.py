"""Opens and closes alerts on one quantity of one topic.

An alert opens when the log-likelihood ratio of a surge over one of the last intervals (1 to 24 windows) passes a
threshold that keeps the promised rate of false alarms: a window-limited generalized likelihood ratio test (Lai 1995).
It closes when the evidence for the return to the expected rate, a CUSUM since the surge (Page 1954), is sufficient.
Windows are learned 24 windows late, so that the beginning of a surge is excluded when the surge is detected. From the
windows of a surge only the season is learned, with a small weight: what recurs every day becomes expected.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from turnwise.monitor.detector_settings import DetectorSettings
from turnwise.monitor.dispersion import LENGTHS, MAX_LENGTH
from turnwise.monitor.score_tail import ScoreTail
from turnwise.monitor.surge_model import Observation, SurgeModel
from turnwise.monitor.thresholds import llr_threshold

CLOSING_EVIDENCE = 4.0  # log-likelihood ratio
MAX_OPENING_COUNT = 10**9  # no number is reported beyond it
KINDS = 2  # the promised rate of false alarms is shared by volume and negative share
SAFETY = 2.0  # the tests aim at the promised rate divided by this, because rate and dispersion are estimated


@dataclass(slots=True)
class OpenAlert:
    """An alert that has not been closed.

    Attributes:
        start: window at which the surge is estimated to have begun.
        opened: window that raised the alert.
        factor: size of the surge that the return to the expected rate is tested against.
        count: texts, or negative texts, since `start`.
        texts: texts since `start`.
        expected: expected `count` since `start`.
        score: log-likelihood ratio when the alert opened.
        evidence: CUSUM of the return to the expected rate.
        quiet_windows: windows in a row for which `evidence` has been above 0.
    """

    start: int
    opened: int
    factor: float
    count: int
    texts: int
    expected: float
    score: float
    evidence: float = 0.0
    quiet_windows: int = 0


class SurgeTest:
    """Alerts on one quantity of one topic.

    Args:
        settings: settings of the detector.
        model: what is expected of the quantity.
    """

    def __init__(self, settings: DetectorSettings, model: SurgeModel) -> None:
        self._settings = settings
        self.model = model
        self.alert: OpenAlert | None = None
        self._last: int | None = None
        self._learned_windows = 0
        self._recent: deque[Observation] = deque()  # at most MAX_LENGTH, not learned yet
        self._tail = ScoreTail(settings.windows_per_day)
        self._threshold: float | None = None  # of the score of the last window; None if no alert could open

    @property
    def missing_windows(self) -> int:
        """Windows that have to come before an alert can open."""
        return max(0, self._settings.warmup_windows - self._learned_windows)

    @property
    def latest(self) -> Observation | None:
        """The last window and what was expected of it."""
        return self._recent[-1] if self._recent else None

    def update(self, start: int, texts: int, negative: int) -> tuple[str, OpenAlert] | None:
        """Process a window. Returns the phase ("opened" or "closed") and the alert that changed, if one did."""
        if self._last is not None and start != self._last + self._settings.window_seconds:
            while self._recent:
                self._learn_oldest()
            self.model.end_of_run()
        self._last, self._threshold = start, None
        self.model.begin_window(start)
        if len(self._recent) == MAX_LENGTH:
            self._learn_oldest()
        observation = self.model.observe(start, texts, negative)
        self._recent.append(observation)
        if self.alert is not None:
            observation.is_excluded = True
            return self._follow(self.alert, observation)
        return self._try_to_open(observation)

    def _learn_oldest(self) -> None:
        observation = self._recent.popleft()
        if observation.is_excluded:
            self.model.end_of_run()
            self.model.learn_surge(observation)
            return
        self.model.learn(observation)
        self._learned_windows += 1

    def _try_to_open(self, observation: Observation) -> tuple[str, OpenAlert] | None:
        if not observation.base:
            return None
        alert = self._best_interval()
        score = alert.score if alert else 0.0
        self._tail.add(score)
        rate = self._settings.alarms_per_window / (KINDS * SAFETY)
        threshold = max(llr_threshold(rate, observation.expected), self._tail.threshold(rate))
        if self.missing_windows:
            return None
        self._threshold = threshold
        if alert is None or score < threshold:
            return None
        self._tail.censor_episode(threshold)
        for recent in self._recent:
            recent.is_excluded |= recent.start >= alert.start
        self.alert = alert
        return "opened", alert

    def opening_counts(self) -> list[int | None]:
        """Smallest counts of the last 1, 2, ... windows (`LENGTHS`) for which an alert on volume opens now.

        None where the interval has windows of a surge or of which nothing is expected, or while no alert can open.
        """
        counts: list[int | None] = []
        texts, expected = 0, 0.0
        for length, observation in enumerate(reversed(self._recent), start=1):
            is_of_this_alert = self.alert is not None and observation.start >= self.alert.start
            if self._threshold is None or not observation.base or (observation.is_excluded and not is_of_this_alert):
                break
            texts += observation.texts
            expected += observation.expected
            if length == LENGTHS[len(counts)]:
                counts.append(self._opening_count(texts, expected, len(counts), self._threshold))
        return counts + [None] * (len(LENGTHS) - len(counts))

    def _opening_count(self, texts: int, expected: float, index: int, threshold: float) -> int | None:
        """Smallest count of an interval of length `LENGTHS[index]` whose score passes the threshold."""
        low, high = int(expected), max(8, 2 * int(expected))
        while self.model.llr(high, texts, expected, index) < threshold:
            low, high = high, 2 * high
            if high > MAX_OPENING_COUNT:  # the score grows with the logarithm of the count if the dispersion is large
                return None
        while high - low > 1:
            middle = (low + high) // 2
            if self.model.llr(middle, texts, expected, index) < threshold:
                low = middle
            else:
                high = middle
        return high

    def _best_interval(self) -> OpenAlert | None:
        """Return the interval up to now with the largest log-likelihood ratio, as an alert; None if all are 0."""
        count, texts, expected, index = 0, 0, 0.0, 0
        best: OpenAlert | None = None
        opened = self._recent[-1].start
        for length, observation in enumerate(reversed(self._recent), start=1):
            if observation.is_excluded or not observation.base:
                break
            count += observation.count
            texts += observation.texts
            expected += observation.expected
            index += length > LENGTHS[index]
            if count > expected:
                score = self.model.llr(count, texts, expected, index)
                if score > (best.score if best else 0.0):
                    factor = min(self._settings.surge_factor, sqrt(count / expected))
                    factor = max(factor, sqrt(self._settings.surge_factor))
                    best = OpenAlert(observation.start, opened, factor, count, texts, expected, score)
        return best

    def _follow(self, alert: OpenAlert, observation: Observation) -> tuple[str, OpenAlert] | None:
        alert.count += observation.count
        alert.texts += observation.texts
        alert.expected += observation.expected
        alert.evidence = max(0.0, alert.evidence + self.model.return_llr(observation, alert.factor))
        alert.quiet_windows = alert.quiet_windows + 1 if alert.evidence else 0
        is_over = alert.evidence >= CLOSING_EVIDENCE and alert.quiet_windows >= self._settings.close_after
        is_too_long = observation.start - alert.opened >= self._settings.max_alert_hours * 3600
        if not is_over and not is_too_long:
            return None
        if not is_over and len(self._recent) == MAX_LENGTH:  # fewer after an outage: too few to tell the level from
            self.model.relearn_level(self._recent)
        self.alert = None
        return "closed", alert

    def state(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {
            "model": self.model.state(),
            "tail": self._tail.state(),
            "alert": asdict(self.alert) if self.alert else None,
            "last": self._last,
            "learned_windows": self._learned_windows,
            "recent": [asdict(observation) for observation in self._recent],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.model.restore(state["model"])
        self._tail.restore(state["tail"])
        self.alert = OpenAlert(**state["alert"]) if state["alert"] else None
        self._last, self._learned_windows = state["last"], state["learned_windows"]
        self._recent.extend(Observation(**observation) for observation in state["recent"])
