"""Expected texts per window over the day, for working days and weekends, learned from the topic's own history.

Times are local: see `DetectorSettings.local_seconds`.
"""

from collections.abc import Mapping
from math import exp
from typing import Any

from turnwise.monitor.detector_settings import SECONDS_PER_DAY

MAX_BINS = 48  # of half an hour; as many as windows if windows are longer
PRIOR_TEXTS = 5.0  # weight of the prior of a bin, in texts
SURGE_DAYS = 4.0  # a surge is learned like other windows when so many days had one at the same time of the day
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


class Season:
    """Rate of texts over the day, interpolated between bins of half an hour.

    A bin of working days or of weekends is a gamma posterior. Its prior is the bin over all days times the ratio of the
    day type, and the prior of the bin over all days is the mean rate: with little history the season is flat.

    Without an earlier day of the same type nothing is expected: a prediction from the other type is too wrong to judge
    by, and its error would be learned as dispersion that hides surges for a week.

    Args:
        history_days: time constant of exponential forgetting.
        windows_per_day: number of windows in a day.
    """

    def __init__(self, history_days: float, windows_per_day: int) -> None:
        self._history_days = history_days
        self._bins = min(MAX_BINS, windows_per_day)
        self._bin_seconds = SECONDS_PER_DAY / self._bins
        self._full_surge_windows = SURGE_DAYS * windows_per_day / self._bins
        self._texts, self._windows, self._surge_windows = ([[0.0] * self._bins for _ in range(2)] for _ in range(3))
        self._day: int | None = None
        self._rates: list[float] = []  # of the current day
        self._weights: list[float] = []  # texts that a rate rests on, including the prior

    def begin_day(self, day: int) -> None:
        """Decay the sums and compute the rates of a day, if it is not the current one. `day` counts from 1970."""
        if day == self._day:
            return
        if self._day is not None:
            decay = exp(-(day - self._day) / self._history_days)
            for sums in (*self._texts, *self._windows, *self._surge_windows):
                sums[:] = [value * decay for value in sums]
        self._day = day
        self._rates, self._weights = [], []
        if sum(self._windows[_is_weekend(day)]):
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
            (count + PRIOR_TEXTS) / (number + PRIOR_TEXTS / (rate * ratio)) if number else 0.0
            for count, number, rate in zip(texts, windows, daily, strict=True)
        ]
        self._weights = [count + PRIOR_TEXTS for count in texts]

    def rate(self, middle: float) -> float:
        """Expected texts per window around the time `middle` of the current day; 0 where nothing is known."""
        if not self._rates:
            return 0.0
        position = middle % SECONDS_PER_DAY / self._bin_seconds - 0.5
        left = int(position // 1)
        share = position - left
        rate, next_rate = self._rates[left % self._bins], self._rates[(left + 1) % self._bins]
        return (1 - share) * rate + share * next_rate if rate and next_rate else 0.0

    def relative_variance(self, start: int) -> float:
        """Squared relative standard error of the rate of the bin that holds `start`."""
        return 1 / self._weights[self._bin(start)] if self._weights else 0.0

    def learn(self, start: int, texts: float) -> None:
        """Add a window without a surge."""
        self._add(start, texts, 1.0)

    def learn_surge(self, start: int, texts: float) -> None:
        """Add a window of a surge, with a weight that grows with the surges at its time of the day."""
        surge_windows = self._surge_windows[_is_weekend(start // SECONDS_PER_DAY)]
        surge_windows[self._bin(start)] += 1
        self._add(start, texts, min(1.0, surge_windows[self._bin(start)] / self._full_surge_windows))

    def _add(self, start: int, texts: float, weight: float) -> None:
        is_weekend, index = _is_weekend(start // SECONDS_PER_DAY), self._bin(start)
        self._texts[is_weekend][index] += weight * texts
        self._windows[is_weekend][index] += weight

    def _bin(self, start: int) -> int:
        return int(start % SECONDS_PER_DAY // self._bin_seconds)

    def state(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        names = ("texts", "windows", "surge_windows", "day", "rates", "weights")
        return {name: getattr(self, f"_{name}") for name in names}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._texts = [list(sums) for sums in state["texts"]]
        self._windows = [list(sums) for sums in state["windows"]]
        self._surge_windows = [list(sums) for sums in state["surge_windows"]]
        self._day, self._rates, self._weights = state["day"], list(state["rates"]), list(state["weights"])


def _is_weekend(day: int) -> bool:
    return (day + _EPOCH_WEEKDAY) % 7 >= 5
