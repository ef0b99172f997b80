"""Runs several prompts of one request at the same time: merged streams and gathered results, both bounded."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

Item = TypeVar("Item")

MAX_CONCURRENT_PROMPTS = 32  # of one request; the others wait, so that other requests get their turn
_MAX_BUFFERED_ITEMS = 64  # for a slow reader; then the streams wait


async def merge_streams(streams: Sequence[AsyncGenerator[Item, None]]) -> AsyncGenerator[tuple[int, Item], None]:
    """Yield every item with the index of its stream.

    The first exception of a stream ends all streams and is raised. Closing this generator closes all streams.
    """
    queue: asyncio.Queue[tuple[int, Item] | BaseException | None] = asyncio.Queue(_MAX_BUFFERED_ITEMS)
    semaphore = asyncio.Semaphore(MAX_CONCURRENT_PROMPTS)

    async def forward(index: int) -> None:
        try:
            async with semaphore, aclosing(streams[index]) as items:
                async for item in items:
                    await queue.put((index, item))
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.create_task(forward(index)) for index in range(len(streams))]
    try:
        num_open = len(tasks)
        while num_open:
            entry = await queue.get()
            if entry is None:
                num_open -= 1
            elif isinstance(entry, BaseException):
                raise entry
            else:
                yield entry
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def gather_bounded(coroutines: Sequence[Coroutine[Any, Any, Item]]) -> list[Item]:
    """Return all results in order. After the first exception or a cancellation, the rest is cancelled and awaited."""
    semaphore = asyncio.Semaphore(MAX_CONCURRENT_PROMPTS)

    async def run(coroutine: Coroutine[Any, Any, Item]) -> Item:
        async with semaphore:
            return await coroutine

    tasks = [asyncio.create_task(run(coroutine)) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for coroutine in coroutines:
            coroutine.close()  # those that have not started
