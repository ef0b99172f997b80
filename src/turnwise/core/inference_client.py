"""Client of an inference engine: complete generations, one or many at a time, or their events as they come.

Chat, evaluation, training and data generation use the engine through this module, so cancellation, errors and the
bound on requests in flight are the same everywhere.
"""

import asyncio
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from turnwise.core.errors import Unavailable
from turnwise.core.inference import (
    ErrorEvent,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    InferenceEngine,
    PromptEvent,
    RequestHandle,
    TokenEvent,
)
from turnwise.core.ordered_results import results_in_order

MAX_IN_FLIGHT = 256  # default of `generate_all`: the engine always has waiting requests to fill its batches


class StopCondition(Protocol):
    """Decides when an answer ends, besides stop ids and the token limit; for example at a stop string."""

    def push(self, token_id: int) -> bool:
        """Process the next token. True if the answer ends with it."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A complete answer.

    Attributes:
        token_ids: output tokens.
        finish_reason: why it ended; "stop" if a stop condition ended it.
        prompt: outputs for the prompt, if the request asks for them.
    """

    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt: PromptEvent | None = None


class InferenceClient:
    """Generates complete answers with an engine. Requests must have one answer each.

    Args:
        engine: inference engine.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine

    def generate_all(
        self,
        requests: Iterable[tuple[GenerationRequest, StopCondition | None]],
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> Generator[Generation, None, None]:
        """Yield the generation of every request, in order. Closing the iterator cancels the requests in flight.

        Raises:
            TurnwiseError: the error of the first request that failed, after the results before it.
            Unavailable: the engine was stopped.
        """
        yield from results_in_order(lambda pair: self.start(*pair), requests, max_in_flight)

    def start(self, request: GenerationRequest, stop: StopCondition | None = None) -> "Future[Generation]":
        """Submit a request. Cancelling the future cancels the request."""
        return _PendingGeneration(self._engine, request, stop)


class _PendingGeneration(Future[Generation]):
    """A future that collects the events of a request. Events come from the engine's thread."""

    def __init__(self, engine: InferenceEngine, request: GenerationRequest, stop: StopCondition | None) -> None:
        super().__init__()
        self._token_ids: list[int] = []
        self._prompt: PromptEvent | None = None
        self._stop = stop
        self._handle: RequestHandle | None = None
        self._handle = engine.submit(request, self._observe)
        if self.done():  # a stop condition was met before `submit` returned
            self._handle.cancel()

    def cancel(self) -> bool:
        """Cancel the request and the future."""
        self._cancel_request()
        return super().cancel()

    def _cancel_request(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _observe(self, event: GenerationEvent) -> None:
        """Receive an event. Called from the engine's thread, also before `submit` returns and after `cancel`."""
        if self.done():
            self._cancel_request()  # again, because there was no handle yet if the answer ended during `submit`
            return
        try:
            self._process(event)
        except InvalidStateError:
            pass  # cancelled by the other thread at this moment
        except Exception as error:  # raised by the stop condition
            self._cancel_request()
            with suppress(InvalidStateError):
                self.set_exception(error)

    def _process(self, event: GenerationEvent) -> None:
        if isinstance(event, ErrorEvent):
            self.set_exception(event.error)
            return
        finish_reason = event.finish_reason
        if isinstance(event, PromptEvent):
            self._prompt = event
        if isinstance(event, TokenEvent):
            self._token_ids.append(event.token_id)
            if self._stop is not None and self._stop.push(event.token_id):
                finish_reason = "stop"
                self._cancel_request()
        if finish_reason == "cancelled":
            self.set_exception(Unavailable("The model was stopped."))
        elif finish_reason is not None:
            self.set_result(Generation(tuple(self._token_ids), finish_reason, self._prompt))


class EventStream:
    """Events of several requests, as they come, for code that streams answers.

    Used as a context manager; leaving it cancels all requests. Must be created in the event loop that consumes it.
    """

    def __init__(self, engine: InferenceEngine, requests: Sequence[GenerationRequest]) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, GenerationEvent]] = asyncio.Queue()
        self._engine, self._requests = engine, requests
        self._handles: list[RequestHandle] = []

    def __enter__(self) -> "EventStream":
        try:
            for index, request in enumerate(self._requests):
                self._handles.append(self._engine.submit(request, partial(self._deliver, index)))
        except BaseException:
            self._cancel_all()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel_all()

    async def next(self) -> tuple[int, GenerationEvent]:
        """The next event, and the index of its request."""
        return await self._events.get()

    def cancel(self, index: int) -> None:
        """Cancel the request `index`."""
        self._handles[index].cancel()

    def _deliver(self, index: int, event: GenerationEvent) -> None:
        with suppress(RuntimeError):  # the event loop is closed, so the consumer is gone
            self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

    def _cancel_all(self) -> None:
        for handle in self._handles:
            handle.cancel()
