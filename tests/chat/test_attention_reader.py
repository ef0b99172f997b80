"""Attention weights of requests: one computation at a time, cached per tenant, bounded, cancelled with the request."""

import asyncio
import threading

import numpy as np
import pytest

from turnwise.chat import attention_reader
from turnwise.chat.attention_reader import AttentionReader
from turnwise.core.attention import AttentionQuery
from turnwise.core.errors import InvalidParameter
from turnwise.core.inference import GenerationRequest
from turnwise.core.parameters import GenerationParams
from turnwise.core.scheduling_options import SchedulingOptions


class SlowAttention:
    """Three layers of two heads. A step waits while `gate` is closed, and counts what runs beside it."""

    num_layers, num_heads = 3, 2

    def __init__(self):
        self.num_computed = self.num_running = self.most_running = self.num_steps = self.num_released = 0
        self.gate = threading.Event()
        self.gate.set()
        self.is_started = threading.Event()

    def compute(self, ids):
        self.num_computed += 1
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        try:
            for _ in range(self.num_layers):
                yield
                self.is_started.set()
                assert self.gate.wait(10)
                self.num_steps += 1
        finally:
            self.num_running -= 1
        return np.arange(6, dtype=np.float32).reshape(3, 2, 1) + np.zeros((3, 2, len(ids)), np.float32)

    def release(self):
        self.num_released += 1


@pytest.fixture
def computer():
    return SlowAttention()


@pytest.fixture
def reader(computer):
    return AttentionReader(lambda _: computer)


def request(ids=(1, 2, 3), tenant="ann", scope=""):
    return GenerationRequest(
        tuple(ids), GenerationParams(), 0, frozenset(), scope=scope, scheduling=SchedulingOptions(tenant=tenant)
    )


def read(reader, *requests, query=AttentionQuery()):
    async def all_of_them():
        return await asyncio.gather(*(reader.read(entry, query) for entry in requests))

    return asyncio.run(all_of_them())


def test_the_last_layer_and_the_mean_of_all_heads_are_the_default(reader):
    (weights,) = read(reader, request())
    assert (weights.layer, weights.head, weights.num_layers, weights.num_heads) == (2, None, 3, 2)
    assert weights.weights == (4.5, 4.5, 4.5)
    assert weights.token_ids == (1, 2, 3)


def test_another_layer_or_head_of_the_same_prompt_is_not_computed_again(reader, computer):
    assert [
        read(reader, request(), query=AttentionQuery(layer, head))[0].weights[0]
        for layer, head in ((0, 0), (1, 1), (2, None))
    ] == [0, 3, 4.5]
    assert computer.num_computed == 1


def test_tenants_and_cache_scopes_share_no_results(reader, computer):
    read(reader, request(), request(tenant="bob"), request(scope="x"), request())
    assert computer.num_computed == 3


def test_few_results_are_kept(reader, computer):
    for number in range(attention_reader.NUM_CACHED + 1):
        read(reader, request((number,)))
    read(reader, request((1,)))
    assert computer.num_computed == attention_reader.NUM_CACHED + 1
    read(reader, request((0,)))
    assert computer.num_computed == attention_reader.NUM_CACHED + 2


def test_one_prompt_is_computed_at_a_time(reader, computer):
    read(reader, *(request((number,), tenant=str(number)) for number in range(5)))
    assert (computer.num_computed, computer.most_running) == (5, 1)


@pytest.mark.parametrize(("field", "query"), [("layer", AttentionQuery(3)), ("head", AttentionQuery(0, 2))])
def test_an_index_that_the_model_does_not_have_is_rejected(reader, computer, field, query):
    with pytest.raises(InvalidParameter, match=f"'{field}' must be from 0 to [12] for this model") as caught:
        read(reader, request(), query=query)
    assert caught.value.param == field
    assert computer.num_computed == 0


def test_a_prompt_of_more_than_4096_tokens_is_rejected(reader, computer):
    read(reader, request(range(4096)))
    with pytest.raises(InvalidParameter, match=r"at most 4,096 tokens, and these messages have 4,097\."):
        read(reader, request(range(4097)))
    assert computer.num_computed == 1


def test_a_request_that_is_cancelled_ends_after_the_layer_that_is_computed(reader, computer):
    async def cancel():
        computer.gate.clear()
        task = asyncio.ensure_future(reader.read(request(), AttentionQuery()))
        await asyncio.to_thread(computer.is_started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        computer.gate.set()
        await reader.read(request((9,)), AttentionQuery())  # the thread is free again

    asyncio.run(cancel())
    assert computer.num_steps <= 1 + computer.num_layers


def test_the_weights_of_the_model_are_freed_after_a_while(reader, computer, monkeypatch):
    monkeypatch.setattr(attention_reader, "RELEASE_SECONDS", 0.02)

    async def wait():
        await reader.read(request(), AttentionQuery())
        assert computer.num_released == 0
        await asyncio.sleep(0.1)

    asyncio.run(wait())
    assert computer.num_released == 1
