"""Cycles start at intervals or after so many new answers."""

import pytest

from turnwise.core.errors import InvalidParameter
from turnwise.improve.schedule import Schedule, parse_duration, run_scheduled


class Days:
    """A clock that moves when somebody sleeps, and ends after some seconds."""

    def __init__(self, until):
        self.now, self.until, self.starts = 1_000_000.0, 1_000_000.0 + until, []

    def sleep(self, seconds):
        self.now += seconds

    def run(self, schedule, count_new=lambda since: 0):
        run_scheduled(
            schedule, lambda: self.starts.append(self.now - 1_000_000.0), count_new, self.now,
            stop=lambda: self.now >= self.until, clock=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip
        return self.starts


def test_cycles_start_at_intervals():
    assert Days(until=250).run(Schedule(interval=100)) == [100, 200]


def test_a_cycle_starts_as_soon_as_there_is_enough_feedback():
    days = Days(until=250)
    starts = days.run(Schedule(num_answers=8), lambda since: int((days.now - since) / 10))
    assert starts == [80, 160, 240]


def test_nothing_starts_without_feedback():
    assert Days(until=250).run(Schedule(num_answers=1)) == []


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86_400), ("30m", 1_800), ("1.5d", 129_600), ("10 s", 10)])
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "-3h", "0h", "1w"])
def test_other_texts_are_no_durations(text):
    with pytest.raises(InvalidParameter, match="such as 24h"):
        parse_duration(text)
