"""How the share of negative texts differs over the day, learned from the topic's own history.

Times are local: see `DetectorSettings.local_seconds`.
"""

from collections.abc import Mapping
from math import exp
from typing import Any

from turnwise.monitor.detector_settings import SECONDS_PER_DAY
from turnwise.monitor.season import SURGE_DAYS

HOURS = 24
PRIOR_TEXTS = 100.0  # weight of "no difference" in every hour, in texts


class ShareSeason:
    """Share of negative texts per hour of the day, relative to the mean share.

    Args:
        history_days: time constant of exponential forgetting.
        windows_per_day: number of windows in a day.
    """

    def __init__(self, history_days: float, windows_per_day: int) -> None:
        self._history_days = history_days
        self._negative = [0.0] * HOURS
        self._texts = [0.0] * HOURS
        self._surge_windows = [0.0] * HOURS
        self._full_surge_windows = SURGE_DAYS * windows_per_day / HOURS
        self._day: int | None = None
        self._ratios = [1.0] * HOURS  # of the current day

    def begin_day(self, day: int) -> None:
        """Decay the sums and compute the ratios of a day, if it is not the current one. `day` counts from 1970."""
        if day == self._day:
            return
        if self._day is not None:
            decay = exp(-(day - self._day) / self._history_days)
            self._negative = [value * decay for value in self._negative]
            self._texts = [value * decay for value in self._texts]
            self._surge_windows = [value * decay for value in self._surge_windows]
        self._day = day
        mean = (sum(self._negative) + 1) / (sum(self._texts) + 2)
        self._ratios = [
            (negative / mean + PRIOR_TEXTS) / (texts + PRIOR_TEXTS)
            for negative, texts in zip(self._negative, self._texts, strict=True)
        ]

    def ratio(self, start: int) -> float:
        """Share in the hour of `start`, relative to the mean share."""
        return self._ratios[start % SECONDS_PER_DAY // 3600]

    def learn(self, start: int, negative: float, texts: int) -> None:
        """Add a window without a surge."""
        self._add(start, negative, texts)

    def learn_surge(self, start: int, negative: float, texts: int) -> None:
        """Add a window of a surge, with a weight that grows with the surges at its hour of the day."""
        hour = start % SECONDS_PER_DAY // 3600
        self._surge_windows[hour] += 1
        weight = min(1.0, self._surge_windows[hour] / self._full_surge_windows)
        self._add(start, weight * negative, weight * texts)

    def _add(self, start: int, negative: float, texts: float) -> None:
        hour = start % SECONDS_PER_DAY // 3600
        self._negative[hour] += negative
        self._texts[hour] += texts

    def state(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {name: getattr(self, f"_{name}") for name in ("negative", "texts", "surge_windows", "day", "ratios")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._negative, self._texts = list(state["negative"]), list(state["texts"])
        self._surge_windows = list(state["surge_windows"])
        self._day, self._ratios = state["day"], list(state["ratios"])
