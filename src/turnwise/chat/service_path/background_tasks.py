"""Computations in the background, by key: each at most once at a time, and not again at once after a failure."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

RETRY_SECONDS = 30.0  # until a failed computation is tried again

log = logging.getLogger("turnwise.chat")


class BackgroundTasks:
    """Starts tasks and remembers which are running and which have failed."""

    def __init__(self) -> None:
        """Start without tasks."""
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failed_at: dict[str, float] = {}

    def task(self, key: str) -> asyncio.Task[None] | None:
        """The running task of a key."""
        return self._running.get(key)

    def has_failed_lately(self, key: str) -> bool:
        """True until the computation may be tried again."""
        return time.monotonic() - self._failed_at.get(key, -RETRY_SECONDS) < RETRY_SECONDS

    def start(self, key: str, compute: Callable[[], Coroutine[Any, Any, None]], failure: str) -> asyncio.Task[None]:
        """The task of a key; starts it unless it runs in this event loop.

        Args:
            key: what is computed.
            compute: computes it, and keeps the result.
            failure: a sentence for the log without its full stop, such as "The intents of shop could not be fitted".
        """
        running = self._running.get(key)
        if running is not None and not running.done() and running.get_loop() is asyncio.get_running_loop():
            return running
        self._running[key] = task = asyncio.create_task(compute())

        def finish(task: asyncio.Task[None]) -> None:
            if self._running.get(key) is task:
                del self._running[key]
            if task.cancelled():
                return
            self._failed_at.pop(key, None)
            if (error := task.exception()) is not None:
                self._failed_at[key] = time.monotonic()
                log.error("%s: %s", failure, error)

        task.add_done_callback(finish)
        return task
