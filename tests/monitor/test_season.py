"""The season of the day is recovered for windows of any length. Days and hours without history are not predicted."""

import pytest

from turnwise.monitor.season import Season

DAY = 86_400
MONDAY = 20_598


def learn(season, days, seconds, texts, first=MONDAY):
    for day in range(first, first + days):
        season.begin_day(day)
        for start in range(day * DAY, (day + 1) * DAY, seconds):
            season.learn(start, texts(start % DAY / 3600))
    season.begin_day(first + days)


@pytest.mark.parametrize("seconds", [300, 900, 1800, 2700, 3600])
def test_the_hours_of_the_day_are_told_apart(seconds):
    season = Season(28, DAY // seconds)
    learn(season, 3, seconds, lambda hour: 90 if 6 <= hour < 12 else 10)
    for hour, expected in ((3, 10), (7.5, 90), (9, 90), (10.5, 90), (15, 10), (21, 10)):
        start = hour * 3600 // seconds * seconds
        assert season.rate((MONDAY + 3) * DAY + start + seconds / 2) == pytest.approx(expected, rel=0.05)


def test_nothing_is_expected_of_the_first_day_of_its_type():
    season = Season(28, 96)
    season.begin_day(MONDAY)
    assert season.rate(MONDAY * DAY + 450) == 0
    learn(season, 5, 900, lambda hour: 20)
    assert season.rate((MONDAY + 5) * DAY + 450) == 0  # a Saturday
    learn(season, 1, 900, lambda hour: 5, first=MONDAY + 5)
    assert season.rate((MONDAY + 6) * DAY + 450) == pytest.approx(5, rel=0.05)


def test_hours_that_were_not_seen_are_not_known():
    season = Season(28, 96)
    season.begin_day(MONDAY)
    for start in range(MONDAY * DAY, MONDAY * DAY + DAY // 2, 900):
        season.learn(start, 20)
    season.begin_day(MONDAY + 1)
    assert season.rate((MONDAY + 1) * DAY + 6 * 3600) == pytest.approx(20, rel=0.05)
    assert season.rate((MONDAY + 1) * DAY + 18 * 3600) == 0


def test_surges_are_learned_with_a_weight_that_grows_with_their_number():
    """20 texts, and 60 in surges: after one surge little more is expected, after many days with one nearly 60."""
    expected = []
    season = Season(28, 96)
    learn(season, 5, 900, lambda hour: 20)
    for day in (MONDAY + 7 + number for number in range(42) if number % 7 < 5):
        season.begin_day(day)
        expected.append(season.rate(day * DAY + 12 * 3600 + 450))
        for start in range(day * DAY, (day + 1) * DAY, 900):
            if start % DAY // 7200 == 6:
                season.learn_surge(start, 60)
            else:
                season.learn(start, 20)
    assert expected[0] == pytest.approx(20, rel=0.05)
    assert expected[1] < 25
    assert expected[-1] > 45
    assert expected == sorted(expected)
