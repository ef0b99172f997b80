"""Detects surges of the volume and of the negative share of topics against their own history."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from turnwise.core.errors import UserError
from turnwise.monitor.detector_settings import SECONDS_PER_DAY, DetectorSettings
from turnwise.monitor.dispersion import LENGTHS
from turnwise.monitor.negative_share_model import NegativeShareModel
from turnwise.monitor.surge_model import Kind
from turnwise.monitor.surge_test import OpenAlert, SurgeTest
from turnwise.monitor.volume_model import VolumeModel

__all__ = ["DetectorSettings", "SurgeDetector", "SurgeEvent", "WindowCount", "WindowExpectation"]

Phase = Literal["opened", "closed"]
STATE_VERSION = 2  # increase it when the layout or the meaning of a state changes


@dataclass(frozen=True, slots=True)
class WindowCount:
    """Texts of a topic in one window.

    Attributes:
        topic: name of the topic.
        start: begin of the window in Unix seconds, a multiple of the window length.
        count: texts, after near copies are collapsed.
        negative: negative texts among them.
    """

    topic: str
    start: int
    count: int
    negative: int


@dataclass(frozen=True, slots=True)
class SurgeEvent:
    """An alert opens or closes.

    Attributes:
        topic: name of the topic.
        kind: quantity that surges.
        phase: "opened", or "closed" once the quantity is back at the expected level.
        start: window (Unix seconds) at which the surge is estimated to have begun; the same in both phases.
        at: end of the window that raised the event, in Unix seconds.
        expected: expected number of texts from `start` to `at`; of "negative_share", the expected share.
        observed: observed number of texts from `start` to `at`; of "negative_share", the observed share.
        score: log-likelihood ratio of the surge when the alert opened.
        alert_id: id of the alert, the same in both phases, after a restart and after a replay.
    """

    topic: str
    kind: Kind
    phase: Phase
    start: int
    at: int
    expected: float
    observed: float
    score: float
    alert_id: str


@dataclass(frozen=True, slots=True)
class WindowExpectation:
    """What was expected of the last window of a topic.

    Attributes:
        count: expected number of texts.
        negative: expected number of negative texts among those that came.
        thresholds: smallest numbers of texts that open an alert on the volume, by seconds up to the end of the window.
    """

    count: float
    negative: float
    thresholds: dict[int, int]


class SurgeDetector:
    """Follows the windows of any number of topics.

    A topic is learned for `warmup_days` before its first alert. `missing_windows` says how many windows are missing.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        self.settings = settings
        self._topics: dict[str, tuple[SurgeTest, ...]] = {}
        self._last: dict[str, int] = {}

    def update(self, window: WindowCount) -> list[SurgeEvent]:
        """Process the next window of a topic, and return the alerts that open or close.

        Windows of a topic come in order, empty ones included. A gap means that nothing is known about this time. After
        a gap of more than `history_days` the topic is learned anew, and its open alerts close.

        Raises:
            UserError: the window does not follow the last one of its topic, or its numbers are impossible.
        """
        self._check(window)
        events = self._end_after_gap(window)
        self._last[window.topic] = window.start
        if window.topic not in self._topics:
            self._topics[window.topic] = self._new_tests()
        for test in self._topics[window.topic]:
            change = test.update(window.start, window.count, window.negative)
            if change is not None:
                events.append(self._event(window, test, cast("Phase", change[0]), change[1]))
        return events

    def _end_after_gap(self, window: WindowCount) -> list[SurgeEvent]:
        last = self._last.get(window.topic, window.start)
        if window.start - last <= self.settings.history_days * SECONDS_PER_DAY:
            return []
        tests = self._topics.pop(window.topic)
        return [self._event(window, test, "closed", test.alert) for test in tests if test.alert is not None]

    def _new_tests(self) -> tuple[SurgeTest, ...]:
        models = VolumeModel(self.settings), NegativeShareModel(self.settings)
        return tuple(SurgeTest(self.settings, model) for model in models)

    def _check(self, window: WindowCount) -> None:
        seconds = self.settings.window_seconds
        if window.start % seconds:
            raise UserError(f"A window starts at {window.start}, which is not a multiple of {seconds} seconds.")
        if not 0 <= window.negative <= window.count:
            raise UserError(f"A window holds {window.count} texts and {window.negative} negative ones.")
        last = self._last.get(window.topic)
        if last is not None and window.start <= last:
            raise UserError(f"The window at {window.start} does not follow the last one of its topic, at {last}.")

    def _event(self, window: WindowCount, test: SurgeTest, phase: Phase, alert: OpenAlert) -> SurgeEvent:
        kind, end = test.model.kind, window.start + self.settings.window_seconds
        expected, observed = test.model.summarize(alert.count, alert.texts, alert.expected)
        alert_id = _alert_id(window.topic, kind, alert.opened)
        return SurgeEvent(window.topic, kind, phase, alert.start, end, expected, observed, alert.score, alert_id)

    def missing_windows(self, topic: str) -> int:
        """Number of windows that have to come before an alert on the topic can open."""
        if topic not in self._topics:
            return self.settings.warmup_windows
        return max(test.missing_windows for test in self._topics[topic])

    def expected(self, topic: str) -> dict[Kind, float]:
        """Expected texts and expected negative share of the last window of a topic, without what is not known."""
        values: dict[Kind, float] = {}
        for test in self._topics.get(topic, ()):
            if test.latest is not None and test.latest.base:
                values[test.model.kind] = test.model.expected_value(test.latest)
        return values

    def expectation(self, topic: str) -> WindowExpectation | None:
        """What was expected of the last window of a topic; None if nothing is known about its time of the day."""
        volume, share = self._topics.get(topic, (None, None))
        if volume is None or share is None or volume.latest is None or not volume.latest.base:
            return None
        negative = 0.0 if share.latest is None else share.latest.expected
        seconds = [length * self.settings.window_seconds for length in LENGTHS]
        counts = zip(seconds, volume.opening_counts(), strict=True)
        thresholds = {length: count for length, count in counts if count is not None}
        return WindowExpectation(volume.latest.expected, negative, thresholds)

    def state(self) -> dict[str, Any]:
        """Return the state as JSON data, about 12 kB per topic."""
        return {
            "version": STATE_VERSION,
            "window_seconds": self.settings.window_seconds,
            "time_zone": self.settings.time_zone,
            "topics": {
                topic: {"last": self._last[topic], "tests": {test.model.kind: test.state() for test in tests}}
                for topic, tests in self._topics.items()
            },
        }

    @classmethod
    def from_state(cls, settings: DetectorSettings, state: Mapping[str, Any]) -> "SurgeDetector":
        """Return a detector that continues exactly where `state` was taken.

        Raises:
            UserError: the state is of another version, window length or time zone.
        """
        if state.get("version") != STATE_VERSION:
            raise UserError(f"The state of the surge detector has version {state.get('version')}, not {STATE_VERSION}.")
        if state["window_seconds"] != settings.window_seconds:
            raise UserError(
                f"The surge detector has learned windows of {state['window_seconds']} seconds; "
                f"it cannot continue with windows of {settings.window_seconds} seconds."
            )
        if state["time_zone"] != settings.time_zone:
            raise UserError(
                f"The surge detector has learned the season of the day in the time zone {state['time_zone']}; "
                f"it cannot continue in {settings.time_zone}."
            )
        detector = cls(settings)
        for topic, saved in state["topics"].items():
            detector._last[topic] = saved["last"]
            detector._topics[topic] = detector._new_tests()
            for test in detector._topics[topic]:
                test.restore(saved["tests"][test.model.kind])
        return detector


def _alert_id(topic: str, kind: Kind, opened: int) -> str:
    return hashlib.sha256(f"{topic}\0{kind}\0{opened}".encode()).hexdigest()[:16]
