"""Many things at once, and what comes of them in order; also for code that is not async."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from typing import TypeVar, cast

AHEAD = 4  # times as many as run at once may be done and wait for a slower one before them

T = TypeVar("T")
R = TypeVar("R")


async def map_in_order(work: Callable[[T], Awaitable[R]], items: Iterable[T], at_once: int) -> AsyncGenerator[R, None]:
    """What `work` makes of each item, in the order of the items, `at_once` of them under way.

    The first error ends everything, once all before it were handed out; so does closing it early.
    """
    seats = asyncio.Semaphore(at_once)
    under_way: deque[asyncio.Task[R]] = deque()

    async def seated(item: T) -> R:
        async with seats:
            return await work(item)

    try:
        for item in items:
            under_way.append(asyncio.create_task(seated(item)))
            if len(under_way) == AHEAD * at_once:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def iterate_sync(stream: AsyncGenerator[R, None]) -> Iterator[R]:
    """What a stream yields, for code that is not async. Ctrl-C cancels what is under way."""
    end = object()
    with asyncio.Runner() as runner:

        async def step() -> R | object:
            return await anext(stream, end)

        async def close() -> None:
            await stream.aclose()

        try:
            while (item := runner.run(step())) is not end:
                yield cast(R, item)
        finally:
            runner.run(close())
