"""A chat service that is watched: how its answers go is counted, and noted on the exchange they belong to."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any, cast

from turnwise.chat.service import (
    ChatDelta,
    ChatRequest,
    ChatResponse,
    ChatService,
    Usage,
    collect_embedding,
    collect_response,
)
from turnwise.core.errors import UserError
from turnwise.server.prometheus_metrics import ServerMetrics
from turnwise.server.request_context import current_request

FAILED_FINISH_REASONS = ("error", "cancelled")  # finishes of an answer that was not finished


def instrument(service: ChatService, metrics: ServerMetrics) -> ChatService:
    """`service`, with every answer counted."""
    return cast("ChatService", InstrumentedService(service, metrics))


class InstrumentedService:
    """Passes everything on; answers and embeddings are watched on the way."""

    def __init__(self, service: ChatService, metrics: ServerMetrics) -> None:
        self._service, self._metrics = service, metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    async def stream(self, turn: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """As the service's, for whoever's key it came with."""
        turn = _for_tenant(turn)
        with _measure_completion(self._service.name, turn.n, self._metrics) as watch:
            async with aclosing(self._service.stream(turn)) as deltas:
                async for delta in deltas:
                    watch.observe(delta)
                    yield delta

    async def reply(self, turn: ChatRequest) -> ChatResponse:
        """As the service's, put together here so that its first token is seen too."""
        return await collect_response(self.stream, turn)

    async def count_input_tokens(self, turn: ChatRequest) -> int:
        """As the service's, for whoever's key it came with."""
        return await self._service.count_input_tokens(_for_tenant(turn))

    async def embed(self, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
        """As the service's, counted."""
        return await collect_embedding(self.stream, prompt)


def _for_tenant(turn: ChatRequest) -> ChatRequest:
    key = current_request().key
    return replace(turn, tenant="" if key is None else key.name)


class _CompletionTimer:
    """What is seen of one completion; several answers to one request are one completion."""

    def __init__(self, answers: int) -> None:
        self.start_time = time.perf_counter()
        self.time_to_first_token: float | None = None
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._answers = answers
        self._summary_tokens = 0  # tokens written before the answer began

    def observe(self, delta: ChatDelta) -> None:
        if self.time_to_first_token is None and (delta.text or delta.tool_calls):
            self.time_to_first_token = time.perf_counter() - self.start_time
        if self.finish_reason not in FAILED_FINISH_REASONS:  # one broken answer breaks them all
            self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage
        if delta.context is not None:
            self._summary_tokens = delta.context.usage.completion_tokens

    @property
    def is_complete(self) -> bool:
        """Whether its end was seen: usage comes last, unless something broke."""
        return self.usage is not None or self.finish_reason in FAILED_FINISH_REASONS

    def time_per_output_token(self, seconds: float) -> float | None:
        """Seconds per token of one answer after its first; None where that was not seen."""
        written = 0 if self.usage is None else self.usage.completion_tokens - self._summary_tokens
        if self.time_to_first_token is None or written <= self._answers:
            return None
        return (seconds - self.time_to_first_token) / (written / self._answers - 1)


@contextmanager
def _measure_completion(model: str, answers: int, metrics: ServerMetrics) -> Iterator[_CompletionTimer]:
    request_context, watch = current_request(), _CompletionTimer(answers)
    request_context.model = model
    finish_reason: str | None = "error"
    try:
        yield watch
        finish_reason = watch.finish_reason or "error"
    except UserError:
        finish_reason = None  # what was refused is no completion
        raise
    except Exception:
        raise
    except BaseException:  # closed or cancelled
        timed_out = request_context.limit is not None and request_context.limit.expired()
        finish_reason = watch.finish_reason if watch.is_complete else "timeout" if timed_out else "cancelled"
        raise
    finally:
        if finish_reason is not None:
            request_context.finish_reason = finish_reason
            if watch.usage is not None:
                # A request may hold several prompts.
                request_context.prompt_tokens = (request_context.prompt_tokens or 0) + watch.usage.prompt_tokens
                request_context.completion_tokens = (
                    request_context.completion_tokens or 0
                ) + watch.usage.completion_tokens
            seconds = time.perf_counter() - watch.start_time
            metrics.record_completion(
                model,
                finish_reason,
                seconds,
                time_to_first_token=watch.time_to_first_token,
                time_per_output_token=watch.time_per_output_token(seconds),
                usage=watch.usage,
            )
