"""Expected texts per window over the day, for working days and weekends, learned from the topic's own history."""

from collections.abc import Mapping
from math import exp
from typing import Any

from turnwise.monitor.detector_settings import SECONDS_PER_DAY

BINS = 48  # of half an hour
BIN_SECONDS = SECONDS_PER_DAY // BINS
PRIOR_TEXTS = 5.0  # weight of the prior of a bin, in texts
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


class Season:
    """Rate of texts over the day (UTC), interpolated between bins of half an hour.

    A bin of working days or of weekends is a gamma posterior. Its prior is the bin over all days times the ratio of the
    day type, and the prior of the bin over all days is the mean rate: with little history the season is flat.

    Args:
        history_days: time constant of exponential forgetting.
    """

    def __init__(self, history_days: float) -> None:
        self._history_days = history_days
        self._texts = [[0.0] * BINS, [0.0] * BINS]  # [is_weekend][bin]
        self._windows = [[0.0] * BINS, [0.0] * BINS]
        self._day: int | None = None
        self._rates: list[float] = []  # of the current day
        self._weights: list[float] = []  # texts that a rate rests on, including the prior

    def begin_day(self, day: int) -> None:
        """Forget a little and compute the rates of a day, if it is not the current one. `day` counts from 1970."""
        if day == self._day:
            return
        if self._day is not None:
            decay = exp(-(day - self._day) / self._history_days)
            for sums in (*self._texts, *self._windows):
                sums[:] = [value * decay for value in sums]
        self._day = day
        if sum(map(sum, self._windows)):
            self._compute_rates(_is_weekend(day))

    def _compute_rates(self, is_weekend: bool) -> None:
        mean = (sum(map(sum, self._texts)) + 0.5) / sum(map(sum, self._windows))
        daily = [
            (sum(texts) + PRIOR_TEXTS) / (sum(windows) + PRIOR_TEXTS / mean)
            for texts, windows in zip(zip(*self._texts, strict=True), zip(*self._windows, strict=True), strict=True)
        ]
        texts, windows = self._texts[is_weekend], self._windows[is_weekend]
        expected = sum(count * rate for count, rate in zip(windows, daily, strict=True))
        ratio = (sum(texts) + PRIOR_TEXTS) / (expected + PRIOR_TEXTS)
        self._rates = [
            (count + PRIOR_TEXTS) / (number + PRIOR_TEXTS / (rate * ratio))
            for count, number, rate in zip(texts, windows, daily, strict=True)
        ]
        self._weights = [count + PRIOR_TEXTS for count in texts]

    def rate(self, middle: float) -> float:
        """Expected texts per window around the time `middle` (Unix seconds) of the current day; 0 on the first day."""
        if not self._rates:
            return 0.0
        position = middle % SECONDS_PER_DAY / BIN_SECONDS - 0.5
        left = int(position // 1)
        share = position - left
        return (1 - share) * self._rates[left % BINS] + share * self._rates[(left + 1) % BINS]

    def relative_variance(self, start: int) -> float:
        """Squared relative standard error of the rate of the bin that holds `start`."""
        return 1 / self._weights[start % SECONDS_PER_DAY // BIN_SECONDS] if self._weights else 0.0

    def learn(self, start: int, texts: float) -> None:
        """Add a window."""
        is_weekend, index = _is_weekend(start // SECONDS_PER_DAY), start % SECONDS_PER_DAY // BIN_SECONDS
        self._texts[is_weekend][index] += texts
        self._windows[is_weekend][index] += 1

    def state(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        names = ("texts", "windows", "day", "rates", "weights")
        return {name: getattr(self, f"_{name}") for name in names}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._texts = [list(sums) for sums in state["texts"]]
        self._windows = [list(sums) for sums in state["windows"]]
        self._day, self._rates, self._weights = state["day"], list(state["rates"]), list(state["weights"])


def _is_weekend(day: int) -> bool:
    return (day + _EPOCH_WEEKDAY) % 7 >= 5
