"""Runs a bounded number of tasks at a time and returns their results in the order of the tasks."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import TypeVar

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
