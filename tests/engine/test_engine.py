"""The engine: concurrent requests, cancelling, closing, limits and failures."""

import asyncio
import threading
from dataclasses import replace

import pytest
from reference import GREEDY, VOCAB, EventRecorder, greedy, make_decoder, request

from turnwise.core.errors import ContextLengthExceeded, Unavailable, UserError
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.timeout(60)]


class WaitingRecorder(EventRecorder):
    """A recorder that another thread can wait for."""

    def __init__(self):
        super().__init__()
        self.started, self.ended = threading.Event(), threading.Event()

    def __call__(self, event):
        super().__call__(event)
        self.started.set()
        if event.finish_reason is not None:
            self.ended.set()

    def wait(self):
        assert self.ended.wait(20)
        return self.tokens, self.finish


@pytest.fixture(scope="module")
def model():
    return make_decoder(context=256)


@pytest.fixture
def engine(model):
    engine = Engine(model, max_num_seqs=3)
    yield engine
    engine.close()


def endless(prompt=(1, 2, 3)):
    """A request that runs until it is cancelled."""
    return request(prompt, max_tokens=250)


def idle(engine):
    """True if no request is left in the engine; the last event is sent after its slot is free."""
    return engine.load == (0, 0)


def test_concurrent_requests_from_several_threads_each_get_their_answer(engine, model):
    generation_requests = [request([i % VOCAB, 3 * i % VOCAB, 7], max_tokens=5 + i % 7) for i in range(24)]
    recorders = [WaitingRecorder() for _ in generation_requests]

    def submit(offset):
        for generation_request, recorder in zip(generation_requests[offset::4], recorders[offset::4], strict=True):
            engine.submit(generation_request, recorder)

    threads = [threading.Thread(target=submit, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for generation_request, recorder in zip(generation_requests, recorders, strict=True):
        assert recorder.wait() == greedy(model, generation_request.prompt_ids, generation_request.max_tokens)
    assert idle(engine)


def test_cancelling_frees_the_slot(engine):
    recorders = [WaitingRecorder() for _ in range(4)]
    groups = [engine.submit(endless((i,)), recorder) for i, recorder in enumerate(recorders)]
    assert recorders[0].started.wait(20)
    for group in groups:
        group.cancel()
        group.cancel()
    assert {recorder.wait()[1] for recorder in recorders} == {"cancelled"}
    assert idle(engine)
    groups[0].cancel()
    assert len([event for event in recorders[0].events if event.finish_reason]) == 1


def test_closing_cancels_all_requests_and_may_be_repeated(model):
    engine = Engine(model, max_num_seqs=1)
    running, waiting = WaitingRecorder(), WaitingRecorder()
    engine.submit(endless(), running)
    engine.submit(endless(), waiting)
    assert running.started.wait(20)
    engine.close()
    assert (running.finish, waiting.finish) == ("cancelled", "cancelled")
    assert not engine._thread.is_alive()
    engine.close()
    with pytest.raises(Unavailable, match="shutting down"):
        engine.submit(request([1]), EventRecorder())


def test_an_unused_engine_closes(model):
    Engine(model).close()


def test_a_failed_pass_is_repeated_sequence_by_sequence(engine, model, monkeypatch, caplog):
    runner = engine._scheduler._runner
    forward = runner.forward

    def broken(spans, *, return_hidden=False):
        if len(spans) == 3:
            raise MemoryError("no room")
        return forward(spans, return_hidden=return_hidden)

    monkeypatch.setattr(runner, "forward", broken)
    recorders = [WaitingRecorder() for _ in range(4)]
    for i, recorder in enumerate(recorders):
        engine.submit(request((i, i), max_tokens=20), recorder)
    for i, recorder in enumerate(recorders):
        assert recorder.wait() == greedy(model, (i, i), 20)
    assert "no room" in caplog.text
    assert idle(engine)


def test_a_prompt_whose_forward_pass_fails_ends_with_an_error(engine, model, monkeypatch):
    runner = engine._scheduler._runner
    forward = runner.forward

    def broken(spans, *, return_hidden=False):
        if any(span.ids[0] == 13 for span in spans):
            raise RuntimeError("cannot read this")
        return forward(spans, return_hidden=return_hidden)

    monkeypatch.setattr(runner, "forward", broken)
    recorder, after = WaitingRecorder(), WaitingRecorder()
    engine.submit(request([13, 1]), recorder)
    assert recorder.wait() == ([], "error")
    engine.submit(request([12, 1]), after)
    assert after.wait() == greedy(model, [12, 1], 8)


def test_a_callback_with_a_closed_event_loop_does_not_affect_other_requests(engine, model):
    loop = asyncio.new_event_loop()
    loop.close()
    engine.submit(endless(), lambda event: loop.call_soon_threadsafe(print, event))
    neighbour = WaitingRecorder()
    engine.submit(request([5, 6], max_tokens=40), neighbour)
    assert neighbour.wait() == greedy(model, [5, 6], 40)
    last = WaitingRecorder()
    engine.submit(request([1]), last)
    last.wait()
    assert idle(engine)


@pytest.mark.parametrize(("prompt", "max_tokens"), [(250, 7), (257, 1), (256, 1), (1, 256)])
def test_a_request_longer_than_the_context_is_rejected(engine, prompt, max_tokens):
    assert engine.context_length == 256
    with pytest.raises(ContextLengthExceeded, match=rf"is 256 tokens.*{prompt} in the messages, {max_tokens} in"):
        engine.submit(request([1] * prompt, max_tokens=max_tokens), EventRecorder())
    assert idle(engine)


def test_a_small_kv_cache_limits_the_context_and_still_answers_all_requests(model):
    """Five blocks: a context of 80 tokens, for several requests in turn."""
    per_token = 2 * model.config.num_layers * model.config.num_kv_heads * model.config.head_dim * 4
    engine = Engine(model, max_num_seqs=4, kv_cache_memory_bytes=5 * 16 * per_token)
    try:
        assert engine.context_length == 80
        with pytest.raises(ContextLengthExceeded, match="is 80 tokens"):
            engine.submit(request([1] * 70, max_tokens=11), EventRecorder())
        recorders = [WaitingRecorder() for _ in range(4)]
        for number, recorder in enumerate(recorders):
            engine.submit(request([number, 2], max_tokens=60), recorder)
        for number, recorder in enumerate(recorders):
            assert recorder.wait() == greedy(model, [number, 2], 60)
    finally:
        engine.close()


def test_a_request_that_exactly_fits_the_context_is_answered(engine):
    recorder = WaitingRecorder()
    engine.submit(request([1] * 255, max_tokens=1), recorder)
    assert recorder.wait()[1] == "length"


@pytest.mark.parametrize("ids", [[], [VOCAB], [1, -1], [3, 10**12]])
def test_prompt_ids_outside_the_vocabulary_are_rejected(engine, ids):
    with pytest.raises(UserError, match="prompt"):
        engine.submit(request(ids), EventRecorder())


def test_stop_ids_outside_the_vocabulary_are_ignored(engine, model):
    """The generation config of a model may list tokens outside its vocabulary."""
    recorder = WaitingRecorder()
    engine.submit(request([1, 2, 3], params=replace(GREEDY, min_tokens=4), max_tokens=6, stop=[VOCAB + 9]), recorder)
    assert recorder.wait() == greedy(model, [1, 2, 3], 6)


def test_seeded_answers_do_not_depend_on_other_requests(engine):
    def answer(seed, company=()):
        for prompt in company:
            engine.submit(request(prompt, params=GenerationParams(), max_tokens=20), WaitingRecorder())
        recorder = WaitingRecorder()
        engine.submit(request([8, 9], params=GenerationParams(seed=seed), max_tokens=30), recorder)
        return recorder.wait()

    assert answer(1) == answer(1) == answer(1, company=[(3,), (4,) * 50])
    assert answer(1) != answer(2)
