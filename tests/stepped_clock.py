"""A clock for tests, which can be set."""

from turnwise.core.wall_clock import WallClock


class SteppedClock:
    """Unix time, beginning at 1000, and a steady clock."""

    def __init__(self):
        self.now, self._steady = 1000.0, 50.0

    def pass_time(self, seconds):
        """Let time pass."""
        self.now += seconds
        self._steady += seconds

    def set(self, now):
        """Set the clock: no time passes."""
        self.now = float(now)

    def wall_clock(self):
        """The clock that the program reads."""
        return WallClock(lambda: self.now, lambda: self._steady)
