"""Results in the order of the tasks, with a bounded number of tasks in flight, for futures and coroutines."""

import asyncio
from concurrent.futures import Future

import pytest

from turnwise.core.ordered_results import (
    MAX_UNRETURNED_PER_SLOT,
    async_results_in_order,
    iterate_sync,
    results_in_order,
)


def completed(value):
    future = Future()
    future.set_result(value)
    return future


def failed(error):
    future = Future()
    future.set_exception(error)
    return future


class TestFutures:
    def test_tasks_are_started_only_as_far_as_allowed(self):
        started = []

        def start(task):
            started.append(task)
            return completed(task)

        results = results_in_order(start, range(10), 3)
        assert next(results) == 0
        assert started == [0, 1, 2]
        assert list(results) == list(range(1, 10))

    def test_an_error_is_raised_after_the_results_before_it_and_cancels_the_others(self):
        pending = Future()
        futures = [completed("a"), failed(ValueError("broken")), pending]
        results = results_in_order(futures.__getitem__, range(3), 3)
        assert next(results) == "a"
        with pytest.raises(ValueError, match="broken"):
            next(results)
        assert pending.cancelled()

    def test_closing_cancels_the_futures_that_were_not_returned(self):
        pending = Future()
        results = results_in_order([completed("a"), pending].__getitem__, range(2), 2)
        next(results)
        results.close()
        assert pending.cancelled()


class TestCoroutines:
    def test_results_have_the_order_of_the_tasks_and_few_tasks_run_at_the_same_time(self):
        num_running = 0
        max_running = 0

        async def run(task):
            nonlocal num_running, max_running
            num_running += 1
            max_running = max(max_running, num_running)
            await asyncio.sleep(0.001 * (task % 3))
            num_running -= 1
            return task

        assert list(iterate_sync(async_results_in_order(run, range(20), 3))) == list(range(20))
        assert max_running == 3

    def test_tasks_after_a_slow_one_run_ahead_up_to_a_limit(self):
        finished = []

        async def collect():
            is_released = asyncio.Event()

            async def run(task):
                if task == 0:
                    await is_released.wait()
                finished.append(task)

            results = async_results_in_order(run, range(100), 2)
            first_result = asyncio.ensure_future(anext(results))
            await asyncio.sleep(0.01)
            assert finished == list(range(1, 2 * MAX_UNRETURNED_PER_SLOT))
            is_released.set()
            await first_result
            await results.aclose()

        asyncio.run(collect())

    def test_an_error_is_raised_after_the_results_before_it(self):
        async def run(task):
            if task == 2:
                raise ValueError("broken")
            return task

        results = iterate_sync(async_results_in_order(run, range(5), 2))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="broken"):
            next(results)

    def test_closing_cancels_the_tasks_that_were_not_returned(self):
        cancelled = []

        async def run(task):
            try:
                await asyncio.sleep(0 if task == 0 else 60)
            except asyncio.CancelledError:
                cancelled.append(task)
                raise

        results = iterate_sync(async_results_in_order(run, range(5), 2))
        next(results)
        results.close()
        assert cancelled
