"""Surges of volume and of the negative share raise one alert each; quiet streams and restarts raise none."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import ruptures
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.monitor.surge_detector import DetectorSettings, SurgeDetector, WindowCount

SECONDS = 900
PER_DAY = 96
FIRST = 20_598 * 86_400  # a Monday: the season of weekends is unknown before the first one
SETTINGS = DetectorSettings(window_seconds=SECONDS, warmup_days=2)


def windows(days, seed=0, rate=20.0, share=0.25, surge=None, share_surge=None, factor=4.0):
    """Windows with a season of the day; `surge` and `share_surge` are slices of windows."""
    rng = np.random.default_rng(seed)
    rates = rate * (1 + 0.5 * np.sin(2 * np.pi * np.arange(days * PER_DAY) / PER_DAY))
    shares = np.full(len(rates), share)
    if surge:
        rates[surge] *= factor
    if share_surge:
        shares[share_surge] *= factor
    counts = rng.poisson(rates)
    negative = rng.binomial(counts, np.minimum(shares, 0.9))
    return [
        WindowCount("Norvane", FIRST + SECONDS * window, count, negatives)
        for window, (count, negatives) in enumerate(zip(counts.tolist(), negative.tolist(), strict=True))
    ]


def run(stream, detector=None):
    detector = detector or SurgeDetector(SETTINGS)
    return [event for window in stream for event in detector.update(window)]


BEGIN = 3 * PER_DAY + 40
SURGE = slice(BEGIN, BEGIN + 8)


@pytest.mark.parametrize(("kind", "argument"), [("volume", "surge"), ("negative_share", "share_surge")])
def test_a_surge_opens_one_alert_and_closes_it(kind, argument):
    events = run(windows(4, rate=40 if argument == "share_surge" else 20, factor=3, **{argument: SURGE}))
    assert [(event.kind, event.phase) for event in events] == [(kind, "opened"), (kind, "closed")]
    opened, closed = events
    assert opened.alert_id == closed.alert_id
    assert opened.start == closed.start
    assert abs(opened.start - (FIRST + SECONDS * BEGIN)) <= SECONDS
    assert FIRST + SECONDS * BEGIN < opened.at <= FIRST + SECONDS * (BEGIN + 3)
    assert closed.at > FIRST + SECONDS * SURGE.stop
    assert opened.observed > 2 * opened.expected


def test_the_expected_value_of_a_share_is_a_share():
    opened = run(windows(4, rate=40, share_surge=SURGE))[0]
    assert 0.15 < opened.expected < 0.35
    assert opened.observed <= 1


def test_what_is_expected_of_the_last_window_is_known_after_a_day():
    detector = SurgeDetector(SETTINGS)
    assert detector.expected("Norvane") == {}
    stream = windows(3)
    run(stream[: PER_DAY // 2], detector)
    assert list(detector.expected("Norvane")) == ["negative_share"]
    run(stream[PER_DAY // 2 : 2 * PER_DAY + PER_DAY // 4], detector)  # the middle of the day has 1.5 times 20 texts
    assert detector.expected("Norvane") == {
        "volume": pytest.approx(30, rel=0.2),
        "negative_share": pytest.approx(0.25, rel=0.2),
    }


def test_a_quiet_stream_raises_no_alert():
    assert run(windows(10)) == []


def test_no_alert_opens_before_the_warm_up_is_over():
    early = slice(PER_DAY + 40, PER_DAY + 48)
    detector = SurgeDetector(SETTINGS)
    assert detector.missing_windows("Norvane") == 2 * PER_DAY
    assert run(windows(2, surge=early), detector) == []
    assert 0 < detector.missing_windows("Norvane") <= 24  # windows are learned late
    assert run([WindowCount("Altibra", FIRST, 500, 0)], detector) == []


def test_few_texts_are_not_a_surge():
    stream = windows(4, rate=0.02)
    cut = stream[: 3 * PER_DAY]
    burst = [WindowCount("Norvane", stream[3 * PER_DAY].start, SETTINGS.minimum_count - 1, 0)]
    assert run(cut + burst) == []
    enough = [WindowCount("Norvane", stream[3 * PER_DAY].start, SETTINGS.minimum_count + 3, 0)]
    assert [event.kind for event in run(cut + enough)] == ["volume"]


def test_a_surge_is_not_learned():
    """After a surge of half a day, an equal one at the same time of the next day is as surprising as the first."""
    stream = windows(6, surge=slice(3 * PER_DAY + 20, 3 * PER_DAY + 60), factor=4)
    again = windows(6, surge=slice(4 * PER_DAY + 20, 4 * PER_DAY + 60), factor=4)
    events = run(stream[: 4 * PER_DAY] + again[4 * PER_DAY :])
    opened = [event for event in events if event.phase == "opened"]
    assert len(opened) == 2
    assert opened[1].observed / opened[1].expected > 3


def test_a_change_that_lasts_becomes_the_expected_level():
    stream = windows(9, surge=slice(4 * PER_DAY, None), factor=5)
    events = run(stream)
    assert [event.phase for event in events] == ["opened", "closed"]
    assert events[1].at - events[0].at <= SETTINGS.max_alert_hours * 3600 + SECONDS


def test_what_recurs_every_day_becomes_expected():
    """Three times the texts from 10:00 to 12:00 of every day: an alert a day at first, none in the end."""
    stream = windows(34)
    rng = np.random.default_rng(1)
    for number, window in enumerate(stream[8 * PER_DAY :], start=8 * PER_DAY):
        if 40 <= number % PER_DAY < 48:
            stream[number] = replace(window, count=window.count + int(rng.poisson(2 * window.count)))
    days = [(event.at - FIRST) // 86_400 for event in run(stream) if (event.kind, event.phase) == ("volume", "opened")]
    assert days[:2] == [8, 9]
    assert days[-1] <= 24


def test_a_recurring_negative_share_becomes_expected():
    stream = windows(34, rate=40)
    rng = np.random.default_rng(1)
    for number, window in enumerate(stream[8 * PER_DAY :], start=8 * PER_DAY):
        if 40 <= number % PER_DAY < 48:
            stream[number] = replace(window, negative=int(rng.binomial(window.count, 0.7)))
    days = [(event.at - FIRST) // 86_400 for event in run(stream) if event.kind == "negative_share"]
    assert days[0] == 8
    assert days[-1] <= 26


def test_days_and_weekends_are_those_of_the_time_zone():
    """Texts come from 9:00 to 17:00 of working days in New York, where clocks change on the 28th day (2026-03-08)."""
    zone, monday = ZoneInfo("America/New_York"), datetime(2026, 2, 9, tzinfo=UTC)

    def opened(time_zone):
        stream = []
        for window in range(42 * PER_DAY):
            time = monday + timedelta(seconds=SECONDS * window)
            local = time.astimezone(zone)
            is_busy = 9 <= local.hour < 17 and local.weekday() < 5
            stream.append(WindowCount("a", int(time.timestamp()), 40 if is_busy else 4, 0))
        return run(stream, SurgeDetector(replace(SETTINGS, warmup_days=14, time_zone=time_zone)))

    assert opened("America/New_York") == []
    assert {event.kind for event in opened("UTC")} == {"volume"}


def test_an_outage_in_an_alert_is_not_the_level_of_a_few_windows():
    """The alert is older than `max_alert_hours` at the first window after the outage, which holds only one text."""
    stream = windows(6, surge=slice(3 * PER_DAY + 40, 3 * PER_DAY + 48))
    after = 4 * PER_DAY + 60
    stream[after] = replace(stream[after], count=1, negative=0)
    events = run(stream[: 3 * PER_DAY + 46] + stream[after:])
    assert [(event.kind, event.phase) for event in events] == [("volume", "opened"), ("volume", "closed")]


def test_a_silent_day_in_an_alert_leaves_the_expected_share():
    stream = windows(5, rate=40, share=0.05, share_surge=slice(3 * PER_DAY + 40, 3 * PER_DAY + 46), factor=12)
    silence = range(3 * PER_DAY + 46, 4 * PER_DAY + 50)
    for number in silence:
        stream[number] = replace(stream[number], count=0, negative=0)
    detector = SurgeDetector(SETTINGS)
    events = [event for event in run(stream[: silence.stop], detector) if event.kind == "negative_share"]
    assert [event.phase for event in events] == ["opened", "closed"]
    assert events[1].at - events[0].at == SETTINGS.max_alert_hours * 3600
    assert detector.expected("Norvane")["negative_share"] == pytest.approx(0.05, abs=0.02)


def test_a_topic_is_learned_anew_after_a_gap_longer_than_the_history():
    """An alert that was open closes, and the warm-up begins again."""
    detector = SurgeDetector(replace(SETTINGS, history_days=10))
    stream = windows(4, surge=slice(4 * PER_DAY - 4, None))
    assert [event.phase for event in run(stream, detector)] == ["opened"]
    day = 86_400
    later = [replace(window, start=window.start + 14 * day) for window in windows(4, rate=2)]
    events = run(later, detector)
    assert [event.phase for event in events] == ["closed"]
    assert events[0].at == later[0].start + SECONDS
    assert run([replace(stream[0], topic="b"), replace(stream[0], topic="b", start=FIRST + 9 * day)], detector) == []
    assert detector.missing_windows("b") < SETTINGS.warmup_windows  # shorter gaps are survived
    assert run([replace(later[-1], start=FIRST + 60 * day)], detector) == []
    assert detector.missing_windows("Norvane") == SETTINGS.warmup_windows


@pytest.mark.parametrize(("rate", "factor"), [(10, 3), (10, 6), (5, 5)])
def test_a_surge_is_found_although_the_first_weekend_is_in_the_short_history(rate, factor):
    """Weekends have a fifth of the texts. The error of a prediction from working days would hide surges for a week."""
    rng = np.random.default_rng(rate)
    begin, delays = 5 * 288 + 150, []
    for topic in range(4):
        rates = np.full(5 * 288 + 180, float(rate))
        rates[288 : 3 * 288] *= 0.2  # the stream begins on a Friday
        rates[begin:] *= factor
        counts = rng.poisson(rates).tolist()
        stream = [WindowCount(str(topic), FIRST + 4 * 86_400 + 300 * number, n, 0) for number, n in enumerate(counts)]
        detector = SurgeDetector(DetectorSettings(warmup_days=3))
        opened = [event for event in run(stream, detector) if event.phase == "opened"]
        assert len(opened) == 1
        delays.append((opened[0].at - stream[begin].start) // 300)
    assert min(delays) >= 1
    assert max(delays) <= 3


def test_nothing_is_predicted_of_the_first_weekend():
    """It has six times the texts of working days, which is no surge."""
    stream, many = windows(14), windows(14, seed=1, rate=120)
    for number in [*range(5 * PER_DAY, 7 * PER_DAY), *range(12 * PER_DAY, 14 * PER_DAY)]:
        stream[number] = many[number]
    assert run(stream) == []


STREAM = windows(5, seed=3, surge=SURGE, share_surge=slice(4 * PER_DAY + 30, 4 * PER_DAY + 36))
EVENTS = run(STREAM)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=3))
def test_a_restart_at_any_window_changes_nothing(cuts):
    detector, events = SurgeDetector(SETTINGS), []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(STREAM)], strict=True):
        events += run(STREAM[begin:end], detector)
        detector = SurgeDetector.from_state(SETTINGS, json.loads(json.dumps(detector.state())))
    assert events == EVENTS
    assert {event.kind for event in events} == {"volume", "negative_share"}


def test_empty_windows_do_not_interrupt_a_rise_of_the_share():
    """Three texts in every second window: no interval without an empty one holds `minimum_texts`."""
    stream = windows(4)
    for number, window in enumerate(stream):
        texts = 0 if number % 2 else 3
        is_surge = BEGIN <= number < BEGIN + 20
        stream[number] = replace(window, count=texts, negative=texts if is_surge else texts and int(number % 12 == 6))
    events = run(stream)
    assert [(event.kind, event.phase) for event in events][:1] == [("negative_share", "opened")]
    assert abs(events[0].start - stream[BEGIN].start) <= 2 * SECONDS


def test_topics_do_not_affect_each_other():
    other = [WindowCount("Altibra", window.start, 3 * window.count, 0) for window in windows(5, seed=9)]
    detector = SurgeDetector(SETTINGS)
    events = [event for pair in zip(STREAM, other, strict=True) for event in run(pair, detector)]
    assert [event for event in events if event.topic == "Norvane"] == EVENTS


def test_a_gap_is_not_taken_for_empty_windows():
    stream = windows(5, surge=slice(4 * PER_DAY + 40, 4 * PER_DAY + 48))
    events = run(stream[: 2 * PER_DAY] + stream[3 * PER_DAY :])
    assert [event.phase for event in events] == ["opened", "closed"]


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (WindowCount("a", 7, 1, 0), "not a multiple of 900"),
        (WindowCount("a", 900, 1, 2), "2 negative"),
        (WindowCount("a", 900, -1, -1), "-1 texts"),
    ],
)
def test_impossible_windows_are_rejected(window, message):
    with pytest.raises(UserError, match=message):
        SurgeDetector(SETTINGS).update(window)


def test_windows_have_to_come_in_order():
    detector = SurgeDetector(SETTINGS)
    detector.update(WindowCount("a", 900, 1, 0))
    with pytest.raises(UserError, match="does not follow"):
        detector.update(WindowCount("a", 900, 1, 0))


def test_settings_out_of_range_are_rejected():
    with pytest.raises(InvalidParameter, match="divide a day"):
        DetectorSettings(window_seconds=7000)
    with pytest.raises(InvalidParameter, match="surge_factor"):
        DetectorSettings(surge_factor=1)
    for name in ("Atlantis", "", "../UTC"):
        with pytest.raises(InvalidParameter, match="IANA name"):
            DetectorSettings(time_zone=name)


def test_a_state_of_other_windows_is_rejected():
    state = SurgeDetector(SETTINGS).state()
    with pytest.raises(UserError, match="windows of 900 seconds"):
        SurgeDetector.from_state(DetectorSettings(), state)
    with pytest.raises(UserError, match="version 0"):
        SurgeDetector.from_state(SETTINGS, {**state, "version": 0})
    with pytest.raises(UserError, match="time zone UTC; it cannot continue in Europe/Rome"):
        SurgeDetector.from_state(replace(SETTINGS, time_zone="Europe/Rome"), state)


def test_references_agree_on_the_beginning_of_a_clear_surge():
    surge = slice(BEGIN, BEGIN + 40)
    stream = windows(4, surge=surge, factor=5)
    start = (run(stream)[0].start - FIRST) // SECONDS
    counts = np.array([window.count for window in stream], float)
    offset = BEGIN - 60
    offline = offset + ruptures.Binseg(model="l2").fit(counts[offset : BEGIN + 40]).predict(n_bkps=1)[0]
    online = drift.PageHinkley(min_instances=30, delta=5.0, threshold=100.0)
    window = offset
    while not online.drift_detected:
        online.update(counts[window])
        window += 1
    assert abs(start - offline) <= 2
    assert 0 <= window - 1 - start <= 6
