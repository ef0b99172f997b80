"""A chat service that is watched: how its answers go is counted, and noted on the exchange they belong to."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any, cast

from turnwise.chat.service import ChatService, Delta, Reply, Turn, Usage, embedding_of, whole_reply
from turnwise.core.errors import UserError
from turnwise.server.request_context import current
from turnwise.server.prometheus_metrics import Metrics

BROKEN = ("error", "cancelled")  # finishes of an answer that was not finished


def watched(service: ChatService, metrics: Metrics) -> ChatService:
    """`service`, with every answer counted."""
    return cast("ChatService", _Watched(service, metrics))


class _Watched:
    """Passes everything on; answers and embeddings are watched on the way."""

    def __init__(self, service: ChatService, metrics: Metrics) -> None:
        self._service, self._metrics = service, metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    async def stream(self, turn: Turn) -> AsyncGenerator[Delta, None]:
        """As the service's, for whoever's key it came with."""
        turn = _for_tenant(turn)
        with _watching(self._service.name, turn.n, self._metrics) as watch:
            async with aclosing(self._service.stream(turn)) as deltas:
                async for delta in deltas:
                    watch.saw(delta)
                    yield delta

    async def reply(self, turn: Turn) -> Reply:
        """As the service's, put together here so that its first token is seen too."""
        return await whole_reply(self.stream, turn)

    async def count_input_tokens(self, turn: Turn) -> int:
        """As the service's, for whoever's key it came with."""
        return await self._service.count_input_tokens(_for_tenant(turn))

    async def embed(self, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
        """As the service's, counted."""
        return await embedding_of(self.stream, prompt)


def _for_tenant(turn: Turn) -> Turn:
    key = current().key
    return replace(turn, tenant="" if key is None else key.name)


class _Watch:
    """What is seen of one completion; several answers to one request are one completion."""

    def __init__(self, answers: int) -> None:
        self.began = time.perf_counter()
        self.first: float | None = None
        self.finish: str | None = None
        self.usage: Usage | None = None
        self._answers = answers
        self._beside = 0  # tokens written before the answer began

    def saw(self, delta: Delta) -> None:
        if self.first is None and (delta.text or delta.tool_calls):
            self.first = time.perf_counter() - self.began
        if self.finish not in BROKEN:  # one broken answer breaks them all
            self.finish = delta.finish or self.finish
        self.usage = delta.usage or self.usage
        if delta.context is not None:
            self._beside = delta.context.usage.completion_tokens

    @property
    def complete(self) -> bool:
        """Whether its end was seen: usage comes last, unless something broke."""
        return self.usage is not None or self.finish in BROKEN

    def each(self, seconds: float) -> float | None:
        """Seconds per token of one answer after its first; None where that was not seen."""
        written = 0 if self.usage is None else self.usage.completion_tokens - self._beside
        if self.first is None or written <= self._answers:
            return None
        return (seconds - self.first) / (written / self._answers - 1)


@contextmanager
def _watching(model: str, answers: int, metrics: Metrics) -> Iterator[_Watch]:
    exchange, watch = current(), _Watch(answers)
    exchange.model = model
    ended: str | None = "error"
    try:
        yield watch
        ended = watch.finish or "error"
    except UserError:
        ended = None  # what was refused is no completion
        raise
    except Exception:
        raise
    except BaseException:  # closed or cancelled
        timed_out = exchange.limit is not None and exchange.limit.expired()
        ended = watch.finish if watch.complete else "timeout" if timed_out else "cancelled"
        raise
    finally:
        if ended is not None:
            exchange.finish = ended
            if watch.usage is not None:
                # A request may hold several prompts.
                exchange.prompt_tokens = (exchange.prompt_tokens or 0) + watch.usage.prompt_tokens
                exchange.completion_tokens = (exchange.completion_tokens or 0) + watch.usage.completion_tokens
            seconds = time.perf_counter() - watch.began
            metrics.finished(model, ended, seconds, first=watch.first, each=watch.each(seconds), usage=watch.usage)
