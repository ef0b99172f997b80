"""A call in a thread with a deadline, for a source that must not delay the others."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BackgroundCall(Generic[T]):
    """Runs a function in a daemon thread. A function that does not return in time is abandoned.

    Nothing in Python ends a thread that waits for the system, for example for the answer of a name server. A result
    that comes after the time limit is ignored; `is_running` stays True until then.

    Args:
        function: what to call.
        seconds: time limit.
        name: name of the thread.
    """

    def __init__(self, function: Callable[[], T], seconds: float, name: str) -> None:
        self._function = function
        self._deadline = time.monotonic() + seconds
        self._result: T | None = None
        self._error: BaseException | None = None
        self._is_late = False
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """True until the function has returned."""
        return not self._has_ended.is_set()

    @property
    def is_ready(self) -> bool:
        """True if `result` returns or raises without waiting: the function has returned, or its time is over."""
        return not self.is_running or time.monotonic() >= self._deadline

    def result(self) -> T:
        """What the function returned. Raises what it raised, and `TimeoutError` if it did not return in time."""
        if self.is_running or self._is_late:
            raise TimeoutError("no answer in time")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # T may include None

    def wait(self, seconds: float) -> None:
        """Wait until the function has returned, for at most `seconds`."""
        self._has_ended.wait(seconds)

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # `result` raises it
            self._error = error
        finally:
            self._is_late = time.monotonic() > self._deadline
            self._has_ended.set()
