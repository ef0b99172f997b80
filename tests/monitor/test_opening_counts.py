"""The count that opens an alert: what the detector reports is what it does."""

from itertools import pairwise

import pytest

from turnwise.app.monitor.simulation.simulated_stream import SimulatedStream, StreamSettings
from turnwise.monitor.surge_detector import DetectorSettings, SurgeDetector, WindowCount

SETTINGS = DetectorSettings()
TOPIC = "Norvane"


@pytest.fixture(scope="module")
def windows():
    stream = SimulatedStream(StreamSettings(posts_per_day=1500, topics=1, history_days=9, surges=1, seed=3))
    return [window for window in stream.windows() if window.topic == TOPIC]


def volume_opening(events):
    return next((event for event in events if (event.kind, event.phase) == ("volume", "opened")), None)


def learned_detector(windows):
    detector = SurgeDetector(SETTINGS)
    for window in windows:
        detector.update(window)
    return detector


def test_nothing_is_expected_of_a_new_topic_and_no_count_opens_an_alert_in_the_warm_up(windows):
    detector = SurgeDetector(SETTINGS)
    assert detector.expectation(TOPIC) is None
    detector.update(windows[0])
    assert detector.expectation(TOPIC) is None
    detector = learned_detector(windows[: 4 * 288])
    assert detector.expectation(TOPIC).count > 0
    assert detector.expectation(TOPIC).thresholds == {}


def test_the_reported_count_opens_an_alert_and_one_text_less_opens_none_on_this_window_alone(windows):
    first = 8 * 288
    detector = learned_detector(windows[:first])
    num_openings = 0
    for number, window in enumerate(windows[first : first + 288]):
        before = detector.state() if number % 24 == 0 else None
        detector.update(window)
        if before is None:
            continue
        threshold = detector.expectation(TOPIC).thresholds.get(SETTINGS.window_seconds)
        if threshold is None:  # an alert is open
            continue
        for count in (threshold, threshold - 1):
            twin = SurgeDetector.from_state(SETTINGS, before)
            opening = volume_opening(twin.update(WindowCount(TOPIC, window.start, count, 0)))
            if count == threshold:
                assert opening is not None
                num_openings += 1
            else:
                assert opening is None or opening.start < window.start
    assert num_openings >= 10


def test_an_alert_opens_when_the_count_of_an_interval_reaches_its_threshold(windows):
    detector = learned_detector(windows[: 8 * 288])
    counts = {window.start: window.count for window in windows}
    num_quiet = num_opened = 0
    for window in windows[8 * 288 :]:
        opening = volume_opening(detector.update(window))
        end = window.start + SETTINGS.window_seconds
        thresholds = detector.expectation(TOPIC).thresholds
        assert all(shorter[1] <= longer[1] for shorter, longer in pairwise(sorted(thresholds.items())))
        reached = [
            seconds
            for seconds, threshold in thresholds.items()
            if sum(counts[end - ago] for ago in range(300, seconds + 1, 300)) >= threshold
        ]
        if opening is None:
            assert reached == []
            num_quiet += bool(thresholds)
        else:
            num_opened += 1
            assert end - opening.start in reached or end - opening.start not in thresholds
    assert num_quiet > 300
    assert num_opened >= 1, "the stream has a surge"
