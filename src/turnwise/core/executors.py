"""Thread pools for blocking calls, with a time limit for the caller.

A store that waits for a lock or a slow disk must block neither the event loop nor the default thread pool, which
tokenizes.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from turnwise.core.errors import Unavailable

CALL_TIMEOUT_SECONDS = 6.0  # longer than a store waits for its lock, so that the store reports the error
P = ParamSpec("P")
Result = TypeVar("Result")


class TimeoutExecutor:
    """A thread pool whose callers wait for a limited time."""

    def __init__(self, name: str, threads: int, seconds: float = CALL_TIMEOUT_SECONDS) -> None:
        """Create the pool.

        Args:
            name: what the calls access; used in thread names and error messages.
            threads: number of threads.
            seconds: time limit for a caller.
        """
        self._name, self._threads, self.seconds = name, threads, seconds
        self._reset()
        if hasattr(os, "register_at_fork"):
            # A forked process inherits the executor, but not its threads.
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._executor = ThreadPoolExecutor(self._threads, f"turnwise-{self._name.replace(' ', '-')}")

    def submit(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> "Future[Result]":
        """Start a call. It runs to its end even if the caller is cancelled."""
        return self._executor.submit(function, *args, **kwargs)

    async def run(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Run a call and return its result.

        Cancelling the caller does not cancel the call. A call that has not started at the time limit never starts.

        Raises:
            Unavailable: the call took longer than `seconds`. Exceptions of the call itself pass through.
        """
        future = self.submit(function, *args, **kwargs)
        try:
            return await self.result(future)
        except Unavailable:
            future.cancel()
            raise

    async def result(self, future: "Future[Result]") -> Result:
        """The result of a submitted call. Raises as `run` does."""
        task = asyncio.wrap_future(future)
        # Retrieve the exception even if the caller is gone: asyncio would log it as never retrieved.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        finished, _ = await asyncio.wait((task,), timeout=self.seconds)
        if not finished:
            raise Unavailable(f"The {self._name} did not answer within {self.seconds:g} seconds. Try again soon.")
        return task.result()

    def drain(self, seconds: float) -> bool:
        """Wait up to `seconds` until all submitted calls have ended. Returns True if they have."""
        with suppress(TimeoutError):
            for marker in [self._executor.submit(int) for _ in range(self._threads)]:
                marker.result(seconds)
            return True
        return False


STORE_READ_EXECUTOR = TimeoutExecutor("conversation store", 4)
STORE_WRITE_EXECUTOR = TimeoutExecutor("conversation store", 1)  # one thread keeps writes in order
MONITOR_READ_EXECUTOR = TimeoutExecutor("monitor store", 2)
VERSION_EXECUTOR = TimeoutExecutor("registry of versions", 2)
IMPROVEMENT_EXECUTOR = TimeoutExecutor("folder of improvements", 2)
KEY_STORE_EXECUTOR = TimeoutExecutor("key file", 2)
KEY_USAGE_EXECUTOR = TimeoutExecutor("usage of keys", 1)  # of its own, so that writes delay no check of a key
