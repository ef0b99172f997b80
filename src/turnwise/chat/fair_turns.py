"""Turns on a shared resource: one caller at a time, tenants in rotation."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairTurns:
    """Gives the turn to waiting tenants in rotation, and within a tenant in order of arrival.

    A tenant with many requests delays another tenant by one turn at most, however many of its own are waiting.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the next tenant first

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Context manager: wait for a turn, which ends with the block."""
        if self._is_taken:
            await self._wait(tenant)
        self._is_taken = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, tenant: str) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # cancelled after it had been given the turn
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the turn to the next caller that still waits; it stays taken on the way to that caller."""
        while self._waiting:
            tenant, futures = self._waiting.popitem(last=False)
            future = futures.popleft()
            if futures:
                self._waiting[tenant] = futures  # behind the other tenants
            if not future.done():
                future.set_result(None)
                return
        self._is_taken = False
