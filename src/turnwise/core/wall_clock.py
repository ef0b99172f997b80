"""Unix time, and whether the clock of the machine was set forward."""

import threading
import time
from collections.abc import Callable

MAX_DRIFT_SECONDS = 5.0  # between two readings; clocks that are adjusted slowly differ by less


class WallClock:
    """Reads the time, and notices when it has advanced more than a clock that nobody can set. Thread-safe.

    A suspended machine counts as one whose clock was set forward: nobody could act meanwhile.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        """Use a clock of Unix time, and a steady one that starts anywhere; both in seconds."""
        self._wall, self._steady = wall, steady
        self._lock = threading.Lock()
        self._offset = wall() - steady()
        self._num_steps = self._num_handled = 0

    def now(self) -> float:
        """Unix time in seconds."""
        with self._lock:
            now = self._wall()
            offset = now - self._steady()
            self._num_steps += offset - self._offset > MAX_DRIFT_SECONDS
            self._offset = offset
            return now

    @property
    def unhandled_step(self) -> int:
        """Number of the last step forward that was not handled; 0 if there is none."""
        with self._lock:
            return self._num_steps if self._num_steps > self._num_handled else 0

    def mark_handled(self, step: int) -> None:
        """Mark steps up to `step` as handled."""
        with self._lock:
            self._num_handled = max(self._num_handled, step)
