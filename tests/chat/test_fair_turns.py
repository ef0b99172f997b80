"""Turns on a shared resource: one at a time, tenants in rotation, nothing lost when a caller is cancelled."""

import asyncio

import pytest

from turnwise.chat.fair_turns import FairTurns

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def run(turns, tenant, order, held=None):
    async with turns.turn(tenant):
        order.append(tenant)
        await (asyncio.sleep(0) if held is None else held.wait())


async def started(coroutine):
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    return task


async def test_tenants_take_turns_however_many_requests_each_of_them_has():
    turns, order, held = FairTurns(), [], asyncio.Event()
    tasks = [await started(run(turns, "first", order, held))]
    tasks += [await started(run(turns, tenant, order)) for tenant in ("a", "a", "a", "b", "c", "b")]
    held.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "a", "b", "c", "a", "b", "a"]


async def test_only_one_caller_has_the_turn():
    turns, running, most = FairTurns(), 0, 0

    async def count(tenant):
        nonlocal running, most
        async with turns.turn(tenant):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(count(f"tenant {number % 3}") for number in range(20)))
    assert (most, running) == (1, 0)


@pytest.mark.parametrize("is_released_first", [True, False])
async def test_a_cancelled_caller_does_not_keep_the_turn(is_released_first):
    """Also one that is cancelled after the turn was given to it and before it runs."""
    turns, order, held = FairTurns(), [], asyncio.Event()
    first = await started(run(turns, "first", order, held))
    cancelled = await started(run(turns, "cancelled", order))
    last = await started(run(turns, "last", order))
    if is_released_first:
        held.set()
        await first
    cancelled.cancel()
    held.set()
    await asyncio.gather(first, last)
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert [tenant for tenant in order if tenant != "cancelled"] == ["first", "last"]
    await asyncio.wait_for(run(turns, "next", order), 1)


async def test_an_error_ends_the_turn():
    turns = FairTurns()
    with pytest.raises(ValueError, match="failed"):
        async with turns.turn("a"):
            raise ValueError("failed")
    async with asyncio.timeout(1), turns.turn("b"):
        pass
