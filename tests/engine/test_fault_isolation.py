"""An exception inside the engine ends only the requests that it concerns; no request hangs and no block leaks."""

import threading
from dataclasses import replace

import pytest
import torch
from reference import GREEDY, VOCAB, EventRecorder, SchedulerHarness, greedy, make_decoder, prompts, request

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

MODEL = make_decoder(context=96)


class Panic(BaseException):
    """The kind of error that a panicking Rust library raises: not an Exception."""


class Constraint:
    """Allows all tokens; the `at`-th call of one of its methods raises."""

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
    """A wrapper of `function` that raises at the `at`-th call only, before or after calling it."""
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
    """Requests of every kind: greedy, sampled, with logprobs, beam search, contrastive search, embedding."""
    long, *short = prompts([40, 5, 9, 3, 20, 7])
    return [
        request(long, max_tokens=12),
        request(short[0], params=replace(GREEDY, logprobs=True, top_logprobs=2), max_tokens=10),
        request(short[1], params=GenerationParams(temperature=1.0, top_p=0.9, seed=3), max_tokens=10),
        request(short[2], params=replace(GREEDY, num_beams=3), max_tokens=8),
        request(short[3], params=replace(GREEDY, penalty_alpha=0.6, top_k=3), max_tokens=6),
        request(short[4], max_tokens=0, prompt_output="embedding"),
        request([*long[:32], 7, 8], max_tokens=10),
        request(long[:8], max_tokens=0, prompt_output="logprobs"),
    ]


def summary(recorder):
    events = recorder.events
    logprobs = [getattr(event, "logprobs", None) for event in events]
    return recorder.tokens, logprobs, getattr(events[-1], "embedding", None), recorder.finish


def answers_alone():
    summaries = []
    for generation_request in requests():
        harness = SchedulerHarness(MODEL, max_num_seqs=4, num_blocks=40)
        recorder = harness.submit(generation_request).on_event
        harness.finish()
        summaries.append(summary(recorder))
    return summaries


ALONE = answers_alone()


def leaks(harness):
    queues = harness.scheduler.queues
    assert not queues.running
    assert not queues.waiting
    pool = queues.kv_cache.pool
    return pool.num_available != pool.num_blocks or queues.kv_cache.repair([])


def submit_all(harness):
    return [harness.submit(generation_request).on_event for generation_request in requests()]


def assert_others_answered(recorders):
    """Requests without an error have the answers that they get alone."""
    for recorder, alone in zip(recorders, ALONE, strict=True):
        assert recorder.finish == "error" or summary(recorder) == alone


def check_next_requests(harness):
    """New requests get the answers that they get alone, and all blocks are freed."""
    assert not leaks(harness)
    recorders = submit_all(harness)
    harness.finish()
    assert [summary(recorder) for recorder in recorders] == ALONE
    assert not leaks(harness)


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
def test_after_an_exception_in_the_bookkeeping_all_requests_end_and_later_ones_are_answered(site, at, monkeypatch):
    owner, name = SITES[site]
    for after in (False, True):
        harness = SchedulerHarness(
            MODEL, max_num_seqs=4, num_blocks=24
        )  # too few for all at once: sequences are preempted and blocks evicted
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failing(getattr(owner, name), at, after=after))
            recorders = submit_all(harness)
            harness.finish()
        failed = [recorder for recorder in recorders if recorder.finish == "error"]
        assert len(failed) <= 1, "it concerns one request at most"
        assert_others_answered(recorders)
        check_next_requests(harness)


@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("method", ["copy", "logits"])
def test_a_runner_that_fails_once_ends_at_most_one_request(method, at, monkeypatch):
    harness = SchedulerHarness(MODEL, max_num_seqs=4, num_blocks=24)
    runner = harness.runner
    with monkeypatch.context() as patch:
        broken = failing(getattr(runner, method), at)
        patch.setattr(runner, method, broken)
        patch.setattr(harness.scheduler.queues.kv_cache, "_copy", runner.copy)
        recorders = submit_all(harness)
        harness.finish()
    failed = [recorder.finish for recorder in recorders].count("error")
    assert failed <= 1
    assert_others_answered(recorders)
    check_next_requests(harness)


@pytest.mark.parametrize("at", [1, 2, 5, 11])
def test_a_forward_pass_that_fails_once_ends_only_a_request_that_was_alone_in_it(at):
    harness = SchedulerHarness(MODEL, max_num_seqs=4, num_blocks=24)
    forward = harness.runner.forward
    harness.runner.forward = failing(forward, at)
    recorders = submit_all(harness)
    harness.finish()
    harness.runner.forward = forward
    failed = [recorder for recorder in recorders if recorder.finish == "error"]
    assert len(failed) <= 1, "only a request that was alone in the pass"
    assert_others_answered(recorders)
    check_next_requests(harness)


def test_a_request_that_the_model_cannot_compute_fails_alone():
    harness = SchedulerHarness(MODEL, max_num_seqs=4)
    forward = harness.runner.forward

    def broken(spans, *, return_hidden=False):
        if any(60 in span.ids for span in spans):
            raise MemoryError("injected")
        return forward(spans, return_hidden=return_hidden)

    harness.runner.forward = broken
    bad = harness.submit(request([60, 1], max_tokens=5)).on_event
    good = [harness.submit(request([i, 2, 3], max_tokens=9, stop=[60])).on_event for i in range(3)]
    harness.finish()
    assert (bad.tokens, bad.finish) == ([], "error")
    assert isinstance(bad.events[-1].error, GenerationFailed)
    for i, recorder in enumerate(good):
        assert (recorder.tokens, recorder.finish) == greedy(MODEL, [i, 2, 3], 9, stop=[60])
    assert not leaks(harness)


@pytest.mark.parametrize("error", [RuntimeError, RecursionError, Panic])
@pytest.mark.parametrize("method", ["allowed", "accept"])
@pytest.mark.parametrize("params", [{}, {"num_beams": 2}, {"penalty_alpha": 0.5, "top_k": 2}], ids=str)
def test_a_constraint_that_raises_ends_only_its_own_request(params, method, error):
    harness = SchedulerHarness(MODEL)
    bad = request([1, 2], params=replace(GREEDY, **params), constraints=(Constraint(method, 3, error),), max_tokens=20)
    failing_one = harness.submit(bad).on_event
    neighbour = harness.submit(request([3, 4], max_tokens=20)).on_event
    harness.finish()
    assert failing_one.finish == "error"
    assert (neighbour.tokens, neighbour.finish) == greedy(MODEL, [3, 4], 20)
    check_next_requests(harness)


def test_a_row_that_cannot_be_sampled_fails_alone_and_others_sample_the_same_tokens(monkeypatch):
    good = [request([i], params=GenerationParams(seed=i), max_tokens=15) for i in range(3)]
    alone = []
    for generation_request in good:
        harness = SchedulerHarness(MODEL)
        recorder = harness.submit(generation_request).on_event
        harness.finish()
        alone.append(summary(recorder))
    sample_tokens_at = choose_file.sample_tokens_at

    def broken(logits_BV, draws, uniform):
        if any(draw.params.temperature == 0.77 for draw in draws):
            raise torch.OutOfMemoryError("injected")
        return sample_tokens_at(logits_BV, draws, uniform)

    monkeypatch.setattr(choose_file, "sample_tokens_at", broken)
    harness = SchedulerHarness(MODEL)
    bad = harness.submit(request([9], params=GenerationParams(temperature=0.77, seed=1))).on_event
    recorders = [harness.submit(generation_request).on_event for generation_request in good]
    harness.finish()
    assert (bad.finish, bad.tokens) == ("error", [])
    assert [summary(recorder) for recorder in recorders] == alone


def test_a_callback_that_raises_ends_only_its_own_request():
    harness = SchedulerHarness(MODEL)

    def failing_callback(event):
        raise Panic("injected")

    harness.submit(request([1, 2], max_tokens=50), failing_callback)
    neighbour = harness.submit(request([3, 4], max_tokens=20)).on_event
    harness.finish()
    assert (neighbour.tokens, neighbour.finish) == greedy(MODEL, [3, 4], 20)
    check_next_requests(harness)


def test_a_fault_outside_any_request_leaves_no_request_waiting(monkeypatch):
    harness = SchedulerHarness(MODEL)
    recorders = submit_all(harness)
    harness.scheduler.queues.by_urgency = failing(harness.scheduler.queues.by_urgency, 1, Panic)
    with pytest.raises(Panic):
        harness.step()
    harness.scheduler.fail_all()
    assert 0 < [recorder.finish for recorder in recorders].count("error") < len(recorders)
    harness.finish()
    assert all(recorder.finish for recorder in recorders)
    check_next_requests(harness)


def test_evicting_a_scope_with_a_deep_tree_does_not_recurse():
    """One sequence of 20,000 tokens, then more scopes than the tree keeps."""
    memory = KVCacheManager(1300, lambda source, target: None)
    ids = list(range(20_000))
    table = memory.match_prefix("first", ids)
    assert memory.reserve(table, len(ids))
    table.num_computed_tokens = len(ids)
    memory.free(table, ids)
    for number in range(4097):
        memory.free(memory.match_prefix(f"scope {number}", [1, 2, 3]))
    assert memory.num_cached_tokens("first", ids) == 0
    assert memory.pool.num_free == 1300
    assert not memory.repair([])


class WaitingRecorder(EventRecorder):
    def __init__(self):
        super().__init__()
        self.ended = threading.Event()

    def __call__(self, event):
        super().__call__(event)
        if event.finish_reason is not None:
            self.ended.set()


def test_an_engine_that_cannot_continue_fails_all_requests_and_rejects_new_ones(monkeypatch):
    engine = Engine(MODEL, max_num_seqs=2)
    assert engine.is_healthy

    def broken(*arguments):
        raise Panic("injected")

    monkeypatch.setattr(engine._scheduler, "step", broken)
    monkeypatch.setattr(engine._scheduler, "fail_all", broken)
    recorders = [WaitingRecorder() for _ in range(3)]
    for number, recorder in enumerate(recorders):
        try:
            engine.submit(request([number + 1], max_tokens=90), recorder)
        except Unavailable:  # the engine has stopped already
            recorder(ErrorEvent(TurnwiseError("refused")))
    for recorder in recorders:
        assert recorder.ended.wait(30)
        assert recorder.finish == "error"
    engine._thread.join(30)
    assert not engine.is_healthy
    with pytest.raises(Unavailable, match="stopped after an error"):
        engine.submit(request([VOCAB - 1]), EventRecorder())
    engine.close()


def test_an_engine_whose_runner_does_not_start_rejects_requests(monkeypatch):
    def broken(self):
        raise MemoryError("injected")

    for runner in (NativeRunner, TorchRunner):
        monkeypatch.setattr(runner, "enter", broken)
    engine = Engine(MODEL, max_num_seqs=2)
    engine._thread.join(30)
    with pytest.raises(Unavailable):
        engine.submit(request([1]), EventRecorder())
    engine.close()
