"""Blocking calls outside the event loop: threads of their own, and a time limit for whoever waits.

A store whose lock another process holds, or whose disk hangs, must stall neither the event loop nor the thread pool
that tokenizes.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from turnwise.core.errors import Unavailable

CALL_TIMEOUT_SECONDS = 6.0  # a little more than a store waits for its lock, so that its own error arrives
P = ParamSpec("P")
Result = TypeVar("Result")


class TimeoutExecutor:
    """A few threads for calls of one kind."""

    def __init__(self, name: str, threads: int, seconds: float = CALL_TIMEOUT_SECONDS) -> None:
        """Name what is called in `name`; whoever awaits a call waits at most so many `seconds`."""
        self._name, self._threads, self.seconds = name, threads, seconds
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)  # a forked child has the executor and not its threads

    def _reset(self) -> None:
        self._executor = ThreadPoolExecutor(self._threads, f"turnwise-{self._name.replace(' ', '-')}")

    def submit(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> "Future[Result]":
        """Start a call that goes on whatever becomes of the caller."""
        return self._executor.submit(function, *args, **kwargs)

    async def run(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """The result of a call. Raises what it raises, and `Unavailable` where it takes too long.

        Cancelling the caller does not cancel the call. A call that has not started when the time is up never starts.
        """
        future = self.submit(function, *args, **kwargs)
        try:
            return await self.result(future)
        except Unavailable:
            future.cancel()
            raise

    async def result(self, future: "Future[Result]") -> Result:
        """The result of a submitted call. Raises what it raises, and `Unavailable` where it takes too long."""
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # also where nobody waits any more
        done, _ = await asyncio.wait((waiting,), timeout=self.seconds)
        if not done:
            raise Unavailable(f"The {self._name} did not answer within {self.seconds:g} seconds. Try again soon.")
        return waiting.result()

    def drain(self, seconds: float) -> bool:
        """Wait until everything submitted so far has ended, at most so many seconds; whether it has."""
        with suppress(TimeoutError):
            for marker in [self._executor.submit(int) for _ in range(self._threads)]:
                marker.result(seconds)
            return True
        return False


STORE_READ_EXECUTOR = TimeoutExecutor("conversation store", 4)
STORE_WRITE_EXECUTOR = TimeoutExecutor(
    "conversation store", 1
)  # writers take turns anyway, and one thread keeps them in order
KEY_STORE_EXECUTOR = TimeoutExecutor("key file", 2)
