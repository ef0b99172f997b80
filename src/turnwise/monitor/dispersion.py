"""How much more sums of several windows vary than independent texts at the expected rate would.

The dispersion is measured on the errors of past predictions, for every interval length of its own. So it covers all
that makes predictions wrong: rates that fluctuate over hours, an estimated level, a season that is not learned exactly.
"""

from collections.abc import Sequence
from math import exp

LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # interval lengths in windows; 5-minute windows: 5 minutes to 2 hours
MAX_LENGTH = LENGTHS[-1]
MEMORY_DAYS = 7.0


class Dispersion:
    """Dispersion per interval length, by the method of moments with exponential forgetting.

    Args:
        prior: dispersion before there are data.
        prior_weight: weight of the prior, in units of the denominators that `add` receives.
        windows_per_day: number of windows in a day.
    """

    def __init__(self, prior: float, prior_weight: float, windows_per_day: int) -> None:
        self._prior, self._prior_weight = prior, prior_weight
        self._decay = exp(-1 / (MEMORY_DAYS * windows_per_day))
        self._excess = [0.0] * len(LENGTHS)
        self._scale = [0.0] * len(LENGTHS)

    def add(self, index: int, excess: float, scale: float) -> None:
        """Add one interval of length `LENGTHS[index]`.

        Args:
            index: index of the interval length.
            excess: squared prediction error minus its expectation without dispersion.
            scale: what dispersion 1 would add to that expectation.
        """
        self._excess[index] = self._excess[index] * self._decay + excess
        self._scale[index] = self._scale[index] * self._decay + scale

    def value(self, index: int) -> float:
        """Return the dispersion of intervals of length `LENGTHS[index]`, at least 0."""
        # Intervals overlap: `length` of them count as one, so the prior counts as much more.
        weight = self._prior_weight * LENGTHS[index]
        return max(0.0, (self._excess[index] + weight * self._prior) / (self._scale[index] + weight))

    def state(self) -> list[list[float]]:
        """Return the sums for `restore`."""
        return [list(self._excess), list(self._scale)]

    def restore(self, state: Sequence[Sequence[float]]) -> None:
        """Continue from what `state` returned."""
        self._excess, self._scale = list(state[0]), list(state[1])
