"""Runs a bounded number of tasks at a time and returns their results in the order of the tasks.

`results_in_order` is for futures, `async_results_in_order` for coroutines.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar, cast

MAX_UNRETURNED_PER_SLOT = 4  # unreturned tasks per task in flight: fast tasks run on while a slow one is awaited

T = TypeVar("T")
R = TypeVar("R")


def results_in_order(
    start: Callable[[T], "Future[R]"], tasks: Iterable[T], max_in_flight: int
) -> Generator[R, None, None]:
    """Yield the result of every task, in order.

    The first error ends the iteration after the results before it. Futures that have not been returned are cancelled
    then, and also when the iterator is closed early.

    Args:
        start: starts a task without waiting for it.
        tasks: read only as far as needed.
        max_in_flight: maximum number of tasks that are started and not returned yet.
    """
    futures: deque[Future[R]] = deque()
    try:
        for task in tasks:
            futures.append(start(task))
            if len(futures) >= max_in_flight:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()


async def async_results_in_order(
    run: Callable[[T], Awaitable[R]], tasks: Iterable[T], max_in_flight: int
) -> AsyncGenerator[R, None]:
    """Yield the result of every task, in order.

    The first error ends the iteration after the results before it. Tasks that have not been returned are cancelled
    then, and also when the generator is closed early.

    Args:
        run: runs a task.
        tasks: read only as far as needed: at most `MAX_UNRETURNED_PER_SLOT * max_in_flight` tasks ahead.
        max_in_flight: maximum number of tasks that run at the same time.
    """
    slots = asyncio.Semaphore(max_in_flight)
    unreturned: deque[asyncio.Task[R]] = deque()

    async def run_in_slot(task: T) -> R:
        async with slots:
            return await run(task)

    try:
        for task in tasks:
            unreturned.append(asyncio.create_task(run_in_slot(task)))
            if len(unreturned) == MAX_UNRETURNED_PER_SLOT * max_in_flight:
                yield await unreturned.popleft()
        while unreturned:
            yield await unreturned.popleft()
    finally:
        for running in unreturned:
            running.cancel()
        await asyncio.gather(*unreturned, return_exceptions=True)


def iterate_sync(stream: AsyncGenerator[R, None]) -> Iterator[R]:
    """Iterate over an async generator from synchronous code. Ctrl-C cancels the tasks in flight."""
    end = object()
    with asyncio.Runner() as runner:

        async def next_item() -> R | object:
            return await anext(stream, end)

        async def close() -> None:
            await stream.aclose()

        try:
            while (item := runner.run(next_item())) is not end:
                yield cast(R, item)
        finally:
            runner.run(close())
