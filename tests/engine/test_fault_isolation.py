"""An exception inside the engine ends the requests that it concerns, and no others; nothing waits and nothing leaks."""

import threading
from dataclasses import replace

import pytest
import torch
from reference import GREEDY, VOCAB, Desk, Listener, greedy, make, prompts, request

from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.inference import ErrorEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine
from turnwise.engine.generation_errors import GenerationFailed
from turnwise.engine.kv_cache.block_pool import BlockPool
from turnwise.engine.kv_cache.kv_cache_manager import KVCacheManager
from turnwise.engine.kv_cache.prefix_tree import PrefixTree
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.runners.torch_runner import TorchRunner
from turnwise.engine.sampling import sampler as choose_file
from turnwise.engine.speculation.speculative_decoder import SpeculativeDecoder

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.timeout(120)]

MODEL = make(context=96)


class Panic(BaseException):
    """What a Rust library raises when it panics: no Exception."""


class Constraint:
    """Allows everything, until one of its methods raises at its `at`-th call."""

    is_complete = False

    def __init__(self, method="allowed", at=2, error=Panic):
        self.method, self.at, self.error, self.calls = method, at, error, 0

    def start(self):
        return self

    def fork(self):
        return self

    def _call(self, method):
        if method == self.method:
            self.calls += 1
            if self.calls >= self.at:
                raise self.error("injected")

    def token_mask(self):
        self._call("allowed")

    def accept(self, token):
        self._call("accept")


def failing(function, at, error=RuntimeError, *, after=False):
    """`function`, which raises at its `at`-th call only: before its work, or after it."""
    calls = 0

    def wrapped(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls != at:
            return function(*arguments, **keywords)
        if after:
            function(*arguments, **keywords)
        raise error("injected")

    return wrapped


def requests():
    """Requests of every kind: greedy, drawn, with log-probabilities, a beam search, a contrastive one, an embedding."""
    long, *short = prompts([40, 5, 9, 3, 20, 7])
    return [
        request(long, most=12),
        request(short[0], params=replace(GREEDY, logprobs=True, top_logprobs=2), most=10),
        request(short[1], params=GenerationParams(temperature=1.0, top_p=0.9, seed=3), most=10),
        request(short[2], params=replace(GREEDY, num_beams=3), most=8),
        request(short[3], params=replace(GREEDY, penalty_alpha=0.6, top_k=3), most=6),
        request(short[4], most=0, prompt_output="embedding"),
        request([*long[:32], 7, 8], most=10),
        request(long[:8], most=0, prompt_output="logprobs"),
    ]


def summary(listener):
    events = listener.events
    logprobs = [getattr(event, "logprobs", None) for event in events]
    return listener.tokens, logprobs, getattr(events[-1], "embedding", None), listener.finish


def answers_alone():
    found = []
    for one in requests():
        desk = Desk(MODEL, slots=4, blocks=40)
        listener = desk.submit(one).on_event
        desk.finish()
        found.append(summary(listener))
    return found


ALONE = answers_alone()


def leaks(desk):
    queues = desk.scheduler.queues
    assert not queues.running
    assert not queues.waiting
    pool = queues.kv_cache.pool
    return pool.num_available != pool.num_blocks or queues.kv_cache.repair([])


def submit_all(desk):
    return [desk.submit(one).on_event for one in requests()]


def assert_others_answered(listeners):
    """All that did not fail got the answers they get alone."""
    for listener, alone in zip(listeners, ALONE, strict=True):
        assert listener.finish == "error" or summary(listener) == alone


def check_next_requests(desk):
    """Whatever happened before, requests are answered as they are alone, and all memory comes back."""
    assert not leaks(desk)
    listeners = submit_all(desk)
    desk.finish()
    assert [summary(listener) for listener in listeners] == ALONE
    assert not leaks(desk)


SITES = {
    **{
        f"tree.{name}": (PrefixTree, name)
        for name in ("root", "match", "match_partial", "insert", "touch", "evict", "remove")
    },
    **{
        f"kv_cache.{name}": (KVCacheManager, name)
        for name in ("match_prefix", "reserve", "insert_prefix", "fork", "free", "num_cached_tokens")
    },
    **{f"pool.{name}": (BlockPool, name) for name in ("allocate", "incref", "decref", "cache", "uncache")},
    **{f"drafting.{name}": (SpeculativeDecoder, name) for name in ("propose", "record_result", "add_output")},
}


@pytest.mark.parametrize("at", [1, 9])
@pytest.mark.parametrize("site", SITES)
def test_after_an_exception_anywhere_in_the_books_all_end_and_the_next_are_answered(site, at, monkeypatch):
    owner, name = SITES[site]
    for after in (False, True):
        desk = Desk(MODEL, slots=4, blocks=24)  # too few for all at once: chats are preempted and blocks evicted
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failing(getattr(owner, name), at, after=after))
            listeners = submit_all(desk)
            desk.finish()
        failed = [listener for listener in listeners if listener.finish == "error"]
        assert len(failed) <= 1, "it concerns one chat at most"
        assert_others_answered(listeners)
        check_next_requests(desk)


@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("method", ["copy", "logits"])
def test_a_runner_that_fails_once_costs_one_chat_at_most(method, at, monkeypatch):
    desk = Desk(MODEL, slots=4, blocks=24)
    runner = desk.runner
    with monkeypatch.context() as patch:
        broken = failing(getattr(runner, method), at)
        patch.setattr(runner, method, broken)
        patch.setattr(desk.scheduler.queues.kv_cache, "_copy", runner.copy)
        listeners = submit_all(desk)
        desk.finish()
    failed = [listener.finish for listener in listeners].count("error")
    assert failed <= 1
    assert_others_answered(listeners)
    check_next_requests(desk)


@pytest.mark.parametrize("at", [1, 2, 5, 11])
def test_a_pass_that_fails_once_costs_nobody_in_company_anything(at):
    desk = Desk(MODEL, slots=4, blocks=24)
    forward = desk.runner.forward
    desk.runner.forward = failing(forward, at)
    listeners = submit_all(desk)
    desk.finish()
    desk.runner.forward = forward
    failed = [listener for listener in listeners if listener.finish == "error"]
    assert len(failed) <= 1, "only one that was alone in the pass"
    assert_others_answered(listeners)
    check_next_requests(desk)


def test_a_request_that_the_model_cannot_compute_fails_alone():
    desk = Desk(MODEL, slots=4)
    forward = desk.runner.forward

    def broken(spans, *, hidden=False):
        if any(60 in span.ids for span in spans):
            raise MemoryError("injected")
        return forward(spans, hidden=hidden)

    desk.runner.forward = broken
    bad = desk.submit(request([60, 1], most=5)).on_event
    good = [desk.submit(request([i, 2, 3], most=9, stop=[60])).on_event for i in range(3)]
    desk.finish()
    assert (bad.tokens, bad.finish) == ([], "error")
    assert isinstance(bad.events[-1].error, GenerationFailed)
    for i, listener in enumerate(good):
        assert (listener.tokens, listener.finish) == greedy(MODEL, [i, 2, 3], 9, stop=[60])
    assert not leaks(desk)


@pytest.mark.parametrize("error", [RuntimeError, RecursionError, Panic])
@pytest.mark.parametrize("method", ["allowed", "accept"])
@pytest.mark.parametrize("params", [{}, {"num_beams": 2}, {"penalty_alpha": 0.5, "top_k": 2}], ids=str)
def test_a_constraint_that_raises_ends_its_own_chat(params, method, error):
    desk = Desk(MODEL)
    bad = request([1, 2], params=replace(GREEDY, **params), constraints=(Constraint(method, 3, error),), most=20)
    failing_one = desk.submit(bad).on_event
    other = desk.submit(request([3, 4], most=20)).on_event
    desk.finish()
    assert failing_one.finish == "error"
    assert (other.tokens, other.finish) == greedy(MODEL, [3, 4], 20)
    check_next_requests(desk)


def test_a_row_that_cannot_be_sampled_fails_alone_and_the_others_draw_as_they_would(monkeypatch):
    good = [request([i], params=GenerationParams(seed=i), most=15) for i in range(3)]
    alone = []
    for one in good:
        desk = Desk(MODEL)
        listener = desk.submit(one).on_event
        desk.finish()
        alone.append(summary(listener))
    sample_tokens_at = choose_file.sample_tokens_at

    def broken(logits_BV, draws, uniform):
        if any(draw.params.temperature == 0.77 for draw in draws):
            raise torch.OutOfMemoryError("injected")
        return sample_tokens_at(logits_BV, draws, uniform)

    monkeypatch.setattr(choose_file, "sample_tokens_at", broken)
    desk = Desk(MODEL)
    bad = desk.submit(request([9], params=GenerationParams(temperature=0.77, seed=1))).on_event
    listeners = [desk.submit(one).on_event for one in good]
    desk.finish()
    assert (bad.finish, bad.tokens) == ("error", [])
    assert [summary(listener) for listener in listeners] == alone


def test_a_listener_that_raises_ends_its_own_chat():
    desk = Desk(MODEL)

    def gone(event):
        raise Panic("injected")

    desk.submit(request([1, 2], most=50), gone)
    other = desk.submit(request([3, 4], most=20)).on_event
    desk.finish()
    assert (other.tokens, other.finish) == greedy(MODEL, [3, 4], 20)
    check_next_requests(desk)


def test_a_fault_that_concerns_nobody_and_comes_back_keeps_nobody_waiting(monkeypatch):
    desk = Desk(MODEL)
    listeners = submit_all(desk)
    desk.scheduler.queues.by_urgency = failing(desk.scheduler.queues.by_urgency, 1, Panic)
    with pytest.raises(Panic):
        desk.step()
    desk.scheduler.fail_all()
    assert 0 < [listener.finish for listener in listeners].count("error") < len(listeners)
    desk.finish()
    assert all(listener.finish for listener in listeners)
    check_next_requests(desk)


def test_a_deep_tree_of_a_forgotten_scope_is_forgotten():
    """One chat of 20,000 tokens, then more scopes than are kept: no recursion as deep as the tree."""
    memory = KVCacheManager(1300, lambda source, target: None)
    ids = list(range(20_000))
    table = memory.match_prefix("first", ids)
    assert memory.reserve(table, len(ids))
    table.length = len(ids)
    memory.free(table, ids)
    for number in range(4097):
        memory.free(memory.match_prefix(f"scope {number}", [1, 2, 3]))
    assert memory.num_cached_tokens("first", ids) == 0
    assert memory.pool.num_free == 1300
    assert not memory.repair([])


class Waiting(Listener):
    def __init__(self):
        super().__init__()
        self.ended = threading.Event()

    def __call__(self, event):
        super().__call__(event)
        if event.finish_reason is not None:
            self.ended.set()


def test_an_engine_that_cannot_go_on_tells_everybody_refuses_the_next_and_says_so(monkeypatch):
    engine = Engine(MODEL, max_num_seqs=2)
    assert engine.is_healthy

    def broken(*arguments):
        raise Panic("injected")

    monkeypatch.setattr(engine._scheduler, "step", broken)
    monkeypatch.setattr(engine._scheduler, "fail_all", broken)
    listeners = [Waiting() for _ in range(3)]
    for number, listener in enumerate(listeners):
        try:
            engine.submit(request([number + 1], most=90), listener)
        except Unavailable:  # it had stopped already
            listener(ErrorEvent(TurnwiseError("refused")))
    for listener in listeners:
        assert listener.ended.wait(30)
        assert listener.finish == "error"
    engine._thread.join(30)
    assert not engine.is_healthy
    with pytest.raises(Unavailable, match="stopped after an error"):
        engine.submit(request([VOCAB - 1]), Listener())
    engine.close()


def test_an_engine_whose_runner_does_not_start_refuses_requests(monkeypatch):
    def broken(self):
        raise MemoryError("injected")

    for runner in (NativeRunner, TorchRunner):
        monkeypatch.setattr(runner, "enter", broken)
    engine = Engine(MODEL, max_num_seqs=2)
    engine._thread.join(30)
    with pytest.raises(Unavailable):
        engine.submit(request([1]), Listener())
    engine.close()
