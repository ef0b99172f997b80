"""The inference client: complete generations in order, a bounded number in flight, cancelled when nobody waits."""

import threading
from concurrent.futures import Future

import pytest

from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.inference import ErrorEvent, FinishEvent, GenerationRequest, PromptEvent, TokenEvent
from turnwise.core.inference_client import InferenceClient
from turnwise.core.ordered_results import results_in_order
from turnwise.core.parameters import GenerationParams


class ManualEngine:
    """An engine whose events the test sends. `listeners` are those of submitted requests, in order."""

    def __init__(self):
        self.listeners, self.cancelled = [], []

    def submit(self, request, on_event):
        index = len(self.listeners)
        self.listeners.append(on_event)
        engine = self

        class Handle:
            def cancel(self):
                engine.cancelled.append(index)

        return Handle()

    def send(self, index, *events):
        for event in events:
            self.listeners[index](event)


class SpellingEngine(ManualEngine):
    """Answers every request at once with the tokens of its prompt, in another thread."""

    def submit(self, request, on_event):
        handle = super().submit(request, on_event)
        events = [*map(TokenEvent, request.prompt_ids), FinishEvent("stop")]
        threading.Thread(target=lambda: [on_event(event) for event in events]).start()
        return handle


class StopAt:
    def __init__(self, token_id):
        self.token_id = token_id

    def push(self, token_id):
        return token_id == self.token_id


def request(*prompt_ids):
    return GenerationRequest(prompt_ids, GenerationParams(), 5, frozenset())


def test_a_generation_has_the_tokens_the_reason_and_the_prompt_outputs():
    engine = ManualEngine()
    generation = InferenceClient(engine).start(request(1))
    prompt = PromptEvent(embedding=(1.0,))
    engine.send(0, prompt, TokenEvent(7), TokenEvent(8, "length"))
    assert generation.result(1).token_ids == (7, 8)
    assert generation.result(1).finish_reason == "length"
    assert generation.result(1).prompt is prompt


def test_results_come_in_the_order_of_the_requests():
    requests = [(request(number, number + 1), None) for number in range(300)]
    generations = InferenceClient(SpellingEngine()).generate_all(requests, max_in_flight=7)
    assert [generation.token_ids[0] for generation in generations] == list(range(300))


def test_no_more_requests_are_in_flight_than_allowed_and_tasks_are_read_lazily():
    started = []

    def start(task):
        started.append(task)
        return Future()

    results = results_in_order(start, iter(range(1000)), max_in_flight=3)
    thread = threading.Thread(target=lambda: next(results, None), daemon=True)
    thread.start()
    thread.join(0.2)
    assert started == [0, 1, 2]


def test_a_stop_condition_ends_the_answer_and_cancels_the_request():
    engine = ManualEngine()
    generation = InferenceClient(engine).start(request(1), StopAt(8))
    engine.send(0, TokenEvent(7), TokenEvent(8), TokenEvent(9), FinishEvent("cancelled"))
    assert generation.result(1).token_ids == (7, 8)
    assert generation.result(1).finish_reason == "stop"
    assert set(engine.cancelled) == {0}


def test_closing_the_iterator_cancels_what_is_in_flight():
    engine = ManualEngine()
    generations = InferenceClient(engine).generate_all([(request(n), None) for n in range(4)], max_in_flight=3)
    threading.Timer(0.05, lambda: engine.send(0, FinishEvent("stop"))).start()
    assert next(generations).token_ids == ()
    generations.close()
    assert engine.cancelled == [1, 2]


def test_the_first_error_ends_the_iteration_after_the_results_before_it():
    engine = ManualEngine()
    generations = InferenceClient(engine).generate_all([(request(n), None) for n in range(4)], max_in_flight=4)

    def answer():
        engine.send(0, FinishEvent("stop"))
        engine.send(1, ErrorEvent(TurnwiseError("Out of memory.")))

    threading.Timer(0.05, answer).start()
    assert next(generations).finish_reason == "stop"
    with pytest.raises(TurnwiseError, match="Out of memory"):
        next(generations)
    assert engine.cancelled == [2, 3]


def test_an_engine_that_is_closed_raises_unavailable():
    engine = ManualEngine()
    generation = InferenceClient(engine).start(request(1))
    engine.send(0, TokenEvent(7), FinishEvent("cancelled"))
    with pytest.raises(Unavailable):
        generation.result(1)


class FailingCondition:
    def push(self, token_id):
        raise ValueError("The condition failed.")


def test_an_error_of_the_stop_condition_reaches_the_caller_and_cancels_the_request():
    engine = ManualEngine()
    generation = InferenceClient(engine).start(request(1), FailingCondition())
    engine.send(0, TokenEvent(7))
    with pytest.raises(ValueError, match="condition failed"):
        generation.result(1)
    assert engine.cancelled == [0]


def test_events_after_a_cancellation_are_ignored():
    engine = ManualEngine()
    generation = InferenceClient(engine).start(request(1))
    generation.cancel()
    engine.send(0, TokenEvent(7), ErrorEvent(TurnwiseError("Out of memory.")))
    assert generation.cancelled()


def test_a_request_whose_answer_ends_during_submit_is_cancelled_by_the_next_event():
    """The engine's thread may be faster than `submit`: there is no handle to cancel yet."""

    class EagerEngine(ManualEngine):
        def submit(self, request, on_event):
            handle = super().submit(request, on_event)
            on_event(TokenEvent(8))
            return handle

    engine = EagerEngine()
    generation = InferenceClient(engine).start(request(1), StopAt(8))
    assert generation.result(1).token_ids == (8,)
    engine.send(0, TokenEvent(9))
    assert set(engine.cancelled) == {0}
