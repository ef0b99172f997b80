"""Counts the usage of API keys in memory, and writes the counts every few seconds and when the server stops.

A request only adds to a number in memory. A process that is killed loses the counts of the last seconds.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from turnwise.core.errors import TurnwiseError
from turnwise.core.executors import KEY_USAGE_EXECUTOR
from turnwise.core.key_usage import KeyUsageStore, UsageCounts, UsageDay, utc_day

FLUSH_SECONDS = 3.0

log = logging.getLogger("turnwise.server")


class UsageRecorder:
    """Adds counts up between two writes. Its methods run on the event loop; writes run in a thread of their own."""

    def __init__(
        self,
        store: KeyUsageStore,
        *,
        flush_seconds: float = FLUSH_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to `store`, `flush_seconds` after the first count; `clock` returns the Unix time."""
        self._store, self._flush_seconds, self._clock = store, flush_seconds, clock
        self._pending: dict[UsageDay, UsageCounts] = {}
        self._lock = threading.Lock()  # a failed write puts counts back from its thread
        self._timer: asyncio.TimerHandle | None = None
        self._is_stored = True  # False after a write that failed

    def record(self, key: str, counts: UsageCounts) -> None:
        """Add counts to those of a key on this day."""
        self._add(UsageDay(utc_day(self._clock()), key), counts)
        self._start_timer()

    async def close(self) -> None:
        """Write the counts that are left. If that fails, they are lost."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            await KEY_USAGE_EXECUTOR.run(self.write)
        except TurnwiseError as error:
            log.warning("The usage of the last seconds was not stored: %s", error)

    def write(self) -> None:
        """Write the counts; after a failure, the next write contains them. Blocks. Raises as the store does."""
        with self._lock:
            counts, self._pending = self._pending, {}
        if not counts:
            return
        try:
            self._store.add(counts)
        except Exception:
            for day, usage in counts.items():
                self._add(day, usage)
            raise

    def _add(self, day: UsageDay, counts: UsageCounts) -> None:
        with self._lock:
            self._pending[day] = self._pending.get(day, UsageCounts()) + counts

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_seconds, self._start_write)

    def _start_write(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        future = KEY_USAGE_EXECUTOR.submit(self.write)
        future.add_done_callback(lambda future: loop.call_soon_threadsafe(self._end_write, future.exception()))

    def _end_write(self, error: BaseException | None) -> None:
        if error is not None:
            self._start_timer()
            if self._is_stored:  # one line, however long the disk is full
                log.warning("The usage of keys cannot be stored now and is stored later: %s", error)
        self._is_stored = error is None
