"""Several streams read as one, and several results awaited as one."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

Item = TypeVar("Item")

_MAX_BUFFERED_ITEMS = 64  # items kept for a slow reader before the streams have to wait
MAX_CONCURRENT_PROMPTS = (
    32  # texts of one request that are with the engine; the others wait, so that other requests get their turn
)


async def merge_streams(streams: Sequence[AsyncGenerator[Item, None]]) -> AsyncGenerator[tuple[int, Item], None]:
    """Every item with the number of its stream. The first failure ends all; closing this closes them."""
    queue: asyncio.Queue[tuple[int, Item] | BaseException | None] = asyncio.Queue(_MAX_BUFFERED_ITEMS)
    slots = asyncio.Semaphore(MAX_CONCURRENT_PROMPTS)

    async def forward(number: int) -> None:
        try:
            async with slots, aclosing(streams[number]) as items:
                async for item in items:
                    await queue.put((number, item))
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.create_task(forward(number)) for number in range(len(streams))]
    try:
        left = len(tasks)
        while left:
            item = await queue.get()
            if item is None:
                left -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def gather_bounded(coroutines: Sequence[Coroutine[Any, Any, Item]]) -> list[Item]:
    """All results, in order. The first failure, or being cancelled, cancels what is still at work and waits for it."""
    slots = asyncio.Semaphore(MAX_CONCURRENT_PROMPTS)

    async def run(work: Coroutine[Any, Any, Item]) -> Item:
        async with slots:
            return await work

    tasks = [asyncio.create_task(run(work)) for work in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for work in coroutines:
            work.close()  # those that never began
