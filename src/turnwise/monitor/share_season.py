"""How the share of negative texts differs over the day, learned from the topic's own history."""

from collections.abc import Mapping
from math import exp
from typing import Any

from turnwise.monitor.detector_settings import SECONDS_PER_DAY

HOURS = 24
PRIOR_TEXTS = 100.0  # weight of "no difference" in every hour, in texts


class ShareSeason:
    """Share of negative texts per hour of the day (UTC), relative to the mean share.

    Args:
        history_days: time constant of exponential forgetting.
    """

    def __init__(self, history_days: float) -> None:
        self._history_days = history_days
        self._negative = [0.0] * HOURS
        self._texts = [0.0] * HOURS
        self._day: int | None = None
        self._ratios = [1.0] * HOURS  # of the current day

    def begin_day(self, day: int) -> None:
        """Forget a little and compute the ratios of a day, if it is not the current one. `day` counts from 1970."""
        if day == self._day:
            return
        if self._day is not None:
            decay = exp(-(day - self._day) / self._history_days)
            self._negative = [value * decay for value in self._negative]
            self._texts = [value * decay for value in self._texts]
        self._day = day
        mean = (sum(self._negative) + 1) / (sum(self._texts) + 2)
        self._ratios = [
            (negative / mean + PRIOR_TEXTS) / (texts + PRIOR_TEXTS)
            for negative, texts in zip(self._negative, self._texts, strict=True)
        ]

    def ratio(self, start: int) -> float:
        """Share in the hour of `start` (Unix seconds), relative to the mean share."""
        return self._ratios[start % SECONDS_PER_DAY // 3600]

    def learn(self, start: int, negative: float, texts: int) -> None:
        """Add a window."""
        hour = start % SECONDS_PER_DAY // 3600
        self._negative[hour] += negative
        self._texts[hour] += texts

    def state(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {name: getattr(self, f"_{name}") for name in ("negative", "texts", "day", "ratios")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._negative, self._texts = list(state["negative"]), list(state["texts"])
        self._day, self._ratios = state["day"], list(state["ratios"])
