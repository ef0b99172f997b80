"""Long polling: a request that waits until something has changed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Query

from turnwise.server.middleware.drain import DrainState

Result = TypeVar("Result")

MAX_WAIT_SECONDS = 25.0  # less than the idle timeout of common proxies
POLL_SECONDS = 0.25  # interval between reads of the store, which another process may write

After = Annotated[int | None, Query(ge=0, description="A revision. Wait until there is another one.")]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait at most.")]


async def wait_for_change(
    read: Callable[[], Awaitable[Result]],
    revision: Callable[[Result], int],
    after: int | None,
    seconds: float,
    drain: DrainState,
) -> Result:
    """Return what `read` returns, as soon as its revision differs from `after`, or after `seconds`.

    A server that stops answers at once. The caller cancels this when the client disconnects.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        result = await read()
        if after is None or revision(result) != after or loop.time() >= deadline or drain.is_draining:
            return result
        await asyncio.sleep(min(POLL_SECONDS, max(0.0, deadline - loop.time())))
