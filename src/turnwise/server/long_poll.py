"""Long polling: a request that waits until something has changed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Query

from turnwise.server.middleware.drain import DrainState

MAX_WAIT_SECONDS = 25.0  # less than the idle timeout of common proxies
POLL_SECONDS = 0.25  # interval between reads of the store, which another process may write

After = Annotated[int | None, Query(ge=0, description="A revision. Wait until there is another one.")]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait at most.")]


async def wait_for_change(
    revision: Callable[[], Awaitable[int]], after: int | None, seconds: float, drain: DrainState
) -> None:
    """Return as soon as `revision` returns something else than `after`, or after `seconds`.

    A server that stops returns at once. What the caller reads afterwards is at least as new as the revision. The caller
    cancels this when the client disconnects.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        if after is None or loop.time() >= deadline or drain.is_draining or await revision() != after:
            return
        await asyncio.sleep(min(POLL_SECONDS, max(0.0, deadline - loop.time())))
