"""Progress as text lines with the remaining time, for output that is not a terminal."""

import time
from contextlib import suppress
from typing import Protocol

SECONDS = 15.0  # between lines


class Console(Protocol):
    """The part of rich's console that is used here."""

    @property
    def is_terminal(self) -> bool:
        """True if the console draws progress bars."""

    def print(self, *objects: object, markup: bool, highlight: bool) -> None:
        """Write a line."""


class ProgressLog:
    """Writes a line about every 15 seconds if the console is a file or a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.start(0)

    def start(self, done: int) -> None:
        """Start the clock at `done` finished items."""
        self._start_time, self._done, self._last_line = time.monotonic(), done, time.monotonic()

    def update(self, done: int, total: int, *words: str) -> None:
        """Write a line, at most one per `SECONDS`.

        Args:
            done: number of finished items.
            total: number of items.
            words: parts of the line.
        """
        now = time.monotonic()
        if self._console.is_terminal or now - self._last_line < SECONDS:
            return
        self._last_line = now
        left = (now - self._start_time) / max(1, done - self._done) * max(0, total - done)
        with suppress(OSError):  # the reader of a pipe is gone
            self._console.print(
                ", ".join((*words, f"about {_format_duration(left)} left")), markup=False, highlight=False
            )


def _format_duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
