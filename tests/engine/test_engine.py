"""The engine: a thread that generates for everybody until it is closed."""

import asyncio
import threading
from dataclasses import replace

import pytest
from reference import GREEDY, VOCAB, Listener, greedy, make, request

from turnwise.core.errors import ContextLengthExceeded, Unavailable, UserError
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.timeout(60)]


class Waiting(Listener):
    """A listener that another thread can wait for."""

    def __init__(self):
        super().__init__()
        self.began, self.ended = threading.Event(), threading.Event()

    def __call__(self, event):
        super().__call__(event)
        self.began.set()
        if event.finish_reason is not None:
            self.ended.set()

    def wait(self):
        assert self.ended.wait(20)
        return self.tokens, self.finish


@pytest.fixture(scope="module")
def model():
    return make(context=256)


@pytest.fixture
def engine(model):
    engine = Engine(model, max_num_seqs=3)
    yield engine
    engine.close()


def endless(prompt=(1, 2, 3)):
    """A request that is not over before somebody does something about it."""
    return request(prompt, most=250)


def idle(engine):
    """Whether nothing is left in the engine; a final event is told once the slot is free."""
    return engine.load == (0, 0)


def test_many_at_once_from_many_threads_each_get_their_own_answer(engine, model):
    asked = [request([i % VOCAB, 3 * i % VOCAB, 7], most=5 + i % 7) for i in range(24)]
    listeners = [Waiting() for _ in asked]

    def submit(part):
        for one, listener in zip(asked[part::4], listeners[part::4], strict=True):
            engine.submit(one, listener)

    threads = [threading.Thread(target=submit, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, listener in zip(asked, listeners, strict=True):
        assert listener.wait() == greedy(model, one.prompt_ids, one.max_tokens)
    assert idle(engine)


def test_cancelling_frees_the_slot(engine):
    listeners = [Waiting() for _ in range(4)]
    tickets = [engine.submit(endless((i,)), listener) for i, listener in enumerate(listeners)]
    assert listeners[0].began.wait(20)
    for ticket in tickets:
        ticket.cancel()
        ticket.cancel()
    assert {listener.wait()[1] for listener in listeners} == {"cancelled"}
    assert idle(engine)
    tickets[0].cancel()
    assert len([event for event in listeners[0].events if event.finish_reason]) == 1


def test_closing_ends_everything_and_may_be_said_twice(model):
    engine = Engine(model, max_num_seqs=1)
    running, waiting = Waiting(), Waiting()
    engine.submit(endless(), running)
    engine.submit(endless(), waiting)
    assert running.began.wait(20)
    engine.close()
    assert (running.finish, waiting.finish) == ("cancelled", "cancelled")
    assert not engine._thread.is_alive()
    engine.close()
    with pytest.raises(Unavailable, match="shutting down"):
        engine.submit(request([1]), Listener())


def test_an_engine_nobody_used_closes(model):
    Engine(model).close()


def test_a_pass_that_fails_is_repeated_chat_by_chat_and_the_engine_goes_on(engine, model, monkeypatch, caplog):
    runner = engine._scheduler._runner
    forward = runner.forward

    def broken(spans, *, hidden=False):
        if len(spans) == 3:
            raise MemoryError("no room")
        return forward(spans, hidden=hidden)

    monkeypatch.setattr(runner, "forward", broken)
    listeners = [Waiting() for _ in range(4)]
    for i, listener in enumerate(listeners):
        engine.submit(request((i, i), most=20), listener)
    for i, listener in enumerate(listeners):
        assert listener.wait() == greedy(model, (i, i), 20)
    assert "no room" in caplog.text
    assert idle(engine)


def test_a_prompt_that_cannot_be_read_is_told_so(engine, model, monkeypatch):
    runner = engine._scheduler._runner
    forward = runner.forward

    def broken(spans, *, hidden=False):
        if any(span.ids[0] == 13 for span in spans):
            raise RuntimeError("cannot read this")
        return forward(spans, hidden=hidden)

    monkeypatch.setattr(runner, "forward", broken)
    listener, after = Waiting(), Waiting()
    engine.submit(request([13, 1]), listener)
    assert listener.wait() == ([], "error")
    engine.submit(request([12, 1]), after)
    assert after.wait() == greedy(model, [12, 1], 8)


def test_a_listener_whose_event_loop_is_closed_harms_nobody(engine, model):
    loop = asyncio.new_event_loop()
    loop.close()
    engine.submit(endless(), lambda event: loop.call_soon_threadsafe(print, event))
    other = Waiting()
    engine.submit(request([5, 6], most=40), other)
    assert other.wait() == greedy(model, [5, 6], 40)
    last = Waiting()
    engine.submit(request([1]), last)
    last.wait()
    assert idle(engine)


@pytest.mark.parametrize(("prompt", "most"), [(250, 7), (257, 1), (256, 1), (1, 256)])
def test_what_does_not_fit_the_context_is_refused(engine, prompt, most):
    assert engine.context_length == 256
    with pytest.raises(ContextLengthExceeded, match=rf"is 256 tokens.*{prompt} in the messages, {most} in"):
        engine.submit(request([1] * prompt, most=most), Listener())
    assert idle(engine)


def test_a_cache_of_few_bytes_bounds_what_is_taken_and_still_answers_everybody(model):
    """Five blocks: a context of eighty tokens, which many share by taking turns."""
    per_token = 2 * model.config.num_layers * model.config.num_kv_heads * model.config.head_dim * 4
    engine = Engine(model, max_num_seqs=4, kv_cache_memory_bytes=5 * 16 * per_token)
    try:
        assert engine.context_length == 80
        with pytest.raises(ContextLengthExceeded, match="is 80 tokens"):
            engine.submit(request([1] * 70, most=11), Listener())
        listeners = [Waiting() for _ in range(4)]
        for number, listener in enumerate(listeners):
            engine.submit(request([number, 2], most=60), listener)
        for number, listener in enumerate(listeners):
            assert listener.wait() == greedy(model, [number, 2], 60)
    finally:
        engine.close()


def test_what_just_fits_is_generated(engine):
    listener = Waiting()
    engine.submit(request([1] * 255, most=1), listener)
    assert listener.wait()[1] == "length"


@pytest.mark.parametrize("ids", [[], [VOCAB], [1, -1], [3, 10**12]])
def test_ids_that_the_model_does_not_know_are_refused_before_they_do_harm(engine, ids):
    with pytest.raises(UserError, match="prompt"):
        engine.submit(request(ids), Listener())


def test_stop_ids_that_the_model_does_not_know_are_nobodys_end(engine, model):
    """A model's own settings may name tokens that it has no rows for."""
    listener = Waiting()
    engine.submit(request([1, 2, 3], params=replace(GREEDY, min_tokens=4), most=6, stop=[VOCAB + 9]), listener)
    assert listener.wait() == greedy(model, [1, 2, 3], 6)


def test_seeded_answers_do_not_depend_on_who_else_is_there(engine):
    def answer(seed, company=()):
        for prompt in company:
            engine.submit(request(prompt, params=GenerationParams(), most=20), Waiting())
        listener = Waiting()
        engine.submit(request([8, 9], params=GenerationParams(seed=seed), most=30), listener)
        return listener.wait()

    assert answer(1) == answer(1) == answer(1, company=[(3,), (4,) * 50])
    assert answer(1) != answer(2)
