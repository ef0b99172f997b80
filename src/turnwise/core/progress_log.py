"""Progress where no bar can be drawn: a line now and then, with the time left."""

import time
from contextlib import suppress
from typing import Protocol

SECONDS = 15.0  # between two lines


class Console(Protocol):
    """What lines are written to (rich's console)."""

    @property
    def is_terminal(self) -> bool:
        """Whether it draws bars itself."""

    def print(self, *objects: object, markup: bool, highlight: bool) -> None:
        """Write a line."""


class ProgressLog:
    """Writes a line about every fifteen seconds where the console is a file or a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.start(0)

    def start(self, done: int) -> None:
        """Start to measure the time."""
        self._began, self._done, self._told = time.monotonic(), done, time.monotonic()

    def update(self, done: int, total: int, *words: str) -> None:
        """Write a line if the last one is long enough ago.

        Args:
            done: of `total`.
            total: how many there are.
            words: what the line says.
        """
        now = time.monotonic()
        if self._console.is_terminal or now - self._told < SECONDS:
            return
        self._told = now
        left = (now - self._began) / max(1, done - self._done) * max(0, total - done)
        with suppress(OSError):  # nobody reads it any more
            self._console.print(", ".join((*words, f"about {_shown(left)} left")), markup=False, highlight=False)


def _shown(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
