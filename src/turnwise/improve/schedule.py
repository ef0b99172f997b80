"""When a cycle starts: once, at intervals, or after so many new answers with feedback."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from turnwise.core.errors import InvalidParameter

POLL_SECONDS = 10.0
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Schedule:
    """When cycles start; the first of both conditions counts.

    Attributes:
        interval: seconds between the starts of two cycles; None: no interval.
        num_answers: new answers with feedback; None: no number.
    """

    interval: float | None = None
    num_answers: int | None = None

    def is_due(self, seconds: float, num_new: int) -> bool:
        """True if a cycle should start.

        Args:
            seconds: time since the start of the last cycle.
            num_new: answers with feedback since then.
        """
        by_time = self.interval is not None and seconds >= self.interval
        return by_time or (self.num_answers is not None and num_new >= self.num_answers)


def run_scheduled(
    schedule: Schedule,
    run_cycle: Callable[[], None],
    count_new: Callable[[float], int],
    last_start: float,
    *,
    stop: Callable[[], bool],
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Run cycles until `stop` returns True.

    Args:
        schedule: when cycles start.
        run_cycle: runs one cycle.
        count_new: number of answers with feedback since a Unix time.
        last_start: Unix time of the last cycle; 0 if there was none.
        stop: polled between two looks at the feedback.
        clock: returns the Unix time in seconds.
        sleep: waits.
    """
    while not stop():
        num_new = 0 if schedule.num_answers is None else count_new(last_start)
        if schedule.is_due(clock() - last_start, num_new):
            last_start = clock()
            run_cycle()
        else:
            sleep(POLL_SECONDS)


def stop_after(minutes: float | None, stop: Callable[[], bool]) -> Callable[[], bool]:
    """The stop condition, or the end of the time limit that starts now."""
    deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
    return lambda: stop() or time.monotonic() > deadline


def parse_duration(text: str) -> float:
    """Seconds of a duration such as "24h", "30m" or "7d".

    Raises:
        InvalidParameter: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    if match is None or not float(match[1]):
        raise InvalidParameter("every", f"'{text}' is not a duration: write a number and s, m, h or d, such as 24h.")
    return float(match[1]) * _UNITS[match[2]]
