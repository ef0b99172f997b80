"""Computations in steps: one thread, tenants in rotation, cancelled between steps."""

import asyncio
import threading

import pytest

from turnwise.chat.stepwise_executor import StepwiseExecutor
from turnwise.core.steps import run_steps

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def count_steps(name, number, order):
    """Note every step in `order`; return the name and the thread's name."""
    for index in range(number):
        if index:
            yield
        order.append(f"{name}{index}")
    return name, threading.current_thread().name


async def test_the_result_is_that_of_all_steps_and_is_computed_in_a_thread_of_its_own():
    order = []
    name, thread = await StepwiseExecutor("labels").run("", count_steps("a", 3, order))
    assert (name, order) == ("a", ["a0", "a1", "a2"])
    assert thread.startswith("turnwise-labels")
    assert run_steps(count_steps("b", 2, order))[0] == "b"


async def test_tenants_take_turns_after_every_step():
    executor, order, started = StepwiseExecutor("labels"), [], threading.Event()

    def wait():
        yield
        started.wait(5)

    tasks = [asyncio.create_task(executor.run("first", wait()))]
    await asyncio.sleep(0.05)
    for tenant, name, number in (("many", "a", 4), ("many", "b", 2), ("few", "c", 2)):
        tasks.append(asyncio.create_task(executor.run(tenant, count_steps(name, number, order))))
        await asyncio.sleep(0)
    started.set()
    await asyncio.gather(*tasks)
    assert order.index("c1") < order.index("a2"), "a short request does not wait for a long one of another tenant"
    assert sorted(order) == ["a0", "a1", "a2", "a3", "b0", "b1", "c0", "c1"]


async def test_a_cancelled_computation_stops_after_the_current_step():
    executor, order = StepwiseExecutor("labels"), []
    in_step, go_on = threading.Event(), threading.Event()

    def endless():
        for number in range(1000):
            order.append(number)
            in_step.set()
            go_on.wait(5)
            yield

    task = asyncio.create_task(executor.run("a", endless()))
    await asyncio.to_thread(in_step.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await executor.run("b", count_steps("b", 2, order)) == ("b", "turnwise-labels_0")
    assert order == [0, "b0", "b1"]


async def test_an_error_of_a_step_is_the_caller_s():
    def fail():
        yield
        raise ValueError("failed")

    executor = StepwiseExecutor("labels")
    with pytest.raises(ValueError, match="failed"):
        await executor.run("a", fail())
    assert (await executor.run("b", count_steps("b", 1, [])))[0] == "b"
