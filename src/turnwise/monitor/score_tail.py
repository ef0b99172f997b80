"""Threshold from the scores that the topic itself reaches without a surge.

The simulated threshold assumes that the counts follow the model. Where they vary more, high scores are more frequent.
The peaks of the score above a level are counted, and their excess is taken as exponential (peaks over threshold; Siffer
et al. 2017, "Anomaly Detection in Streams with Extreme Value Theory"), so a rare rate can be extrapolated. Peaks above
the threshold raise alerts, which may be true: they are censored at the threshold. Without their share of the excess the
mean of the others would be too small, and the threshold would sink.
"""

from collections.abc import Sequence
from math import exp, log

PEAK_LEVEL = 4.0  # log-likelihood ratio
EPISODE_GAP = 6  # windows below the level between two peaks
MEMORY_DAYS = 28.0
MAX_EXCESS = 8.0  # a surge in the history, before alerts can open, counts as at most so much
PRIOR_PEAKS, PRIOR_EXCESS = 10.0, 1.0  # if the model holds, the tail is exponential with mean 1


class ScoreTail:
    """Rate and mean excess of the score's peaks above `PEAK_LEVEL`, with exponential forgetting.

    Args:
        windows_per_day: number of windows in a day.
    """

    def __init__(self, windows_per_day: int) -> None:
        self._decay = exp(-1 / (MEMORY_DAYS * windows_per_day))
        self._windows = 0.0
        self._peaks = 0.0
        self._excess = 0.0
        self._peak = 0.0  # of the current episode
        self._gap = 0

    def add(self, score: float) -> None:
        """Add the score of a window in which no alert is open."""
        self._windows = self._windows * self._decay + 1
        self._peaks *= self._decay
        self._excess *= self._decay
        if score > PEAK_LEVEL:
            self._peak, self._gap = max(self._peak, score), 0
        elif self._peak:
            self._gap += 1
            if self._gap >= EPISODE_GAP:
                self._peaks += 1
                self._excess += min(self._peak - PEAK_LEVEL, MAX_EXCESS)
                self._peak, self._gap = 0.0, 0

    def censor_episode(self, threshold: float) -> None:
        """End the current episode: an alert has opened, so the peak is only known to be above the threshold."""
        self._excess += min(threshold - PEAK_LEVEL, MAX_EXCESS)
        self._peak, self._gap = 0.0, 0

    def threshold(self, rate: float) -> float:
        """Return the score that peaks pass at `rate` per window; `PEAK_LEVEL` if fewer peaks than that are seen."""
        if self._peaks <= rate * self._windows:
            return PEAK_LEVEL
        mean_excess = (self._excess + PRIOR_PEAKS * PRIOR_EXCESS) / (self._peaks + PRIOR_PEAKS)
        return PEAK_LEVEL + mean_excess * log(self._peaks / (rate * self._windows))

    def state(self) -> list[float]:
        """Return the state for `restore`."""
        return [self._windows, self._peaks, self._excess, self._peak, self._gap]

    def restore(self, state: Sequence[float]) -> None:
        """Continue from what `state` returned."""
        self._windows, self._peaks, self._excess, self._peak = state[:4]
        self._gap = int(state[4])
