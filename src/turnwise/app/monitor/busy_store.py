"""Repeats calls of a store while another process uses it, so that the work on a batch is not lost."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from turnwise.core.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")
OnBusy = Callable[[Unavailable], bool]


class BusyRetry:
    """Calls a store again until it is free.

    Attributes:
        on_busy: called when the store is busy; waits, and returns True to call again. Default: the error is raised.
    """

    def __init__(self) -> None:
        self.on_busy: OnBusy = lambda _: False

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns. Raises `Unavailable` if `on_busy` does not wait any more."""
        while True:
            try:
                return function(*args, **kwargs)
            except Unavailable as error:
                if not self.on_busy(error):
                    raise
