"""Services that record metrics and the outcome of every completion."""

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace

from turnwise.chat.delta_accumulator import collect_embedding, collect_response
from turnwise.core.attention import AttentionQuery, AttentionWeights
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta, ChatResponse, Usage
from turnwise.core.chat_service import ChatService, ScenarioInfo, TokenInspector
from turnwise.core.classification_service import (
    ClassificationRequest,
    ClassificationResult,
    ClassificationService,
    TaggingRequest,
    TaggingResult,
)
from turnwise.core.embedding_service import EmbeddingRequest, EmbeddingResult, EmbeddingService
from turnwise.core.errors import UserError
from turnwise.core.key_usage import UsageCounts
from turnwise.server.consent_policy import ConsentPolicy
from turnwise.server.prometheus_metrics import ServerMetrics
from turnwise.server.request_context import current_request, current_tenant

FAILED_FINISH_REASONS = ("error", "cancelled")


class InstrumentedService:
    """Wraps a chat service (implements `core.chat_service.ChatService`).

    Records completions in the metrics and in the request context, sets the tenant, the principal and the consent of
    requests, and shows the store as that principal sees it. Create one per request.
    """

    def __init__(
        self, service: ChatService, metrics: ServerMetrics, consent_policy: ConsentPolicy = ConsentPolicy()
    ) -> None:
        self._service, self._metrics, self._consent_policy = service, metrics, consent_policy
        self.name, self.created, self.fingerprint = service.name, service.created, service.fingerprint
        self.defaults, self.context_length = service.defaults, service.context_length
        self.context_policy = service.context_policy
        self._principal = current_request().principal
        self.store = None if service.store is None else service.store.for_principal(self._principal)

    @property
    def is_healthy(self) -> bool:
        """False after a fatal error of the service."""
        return self._service.is_healthy

    @property
    def scenarios(self) -> Sequence[ScenarioInfo]:
        """Scenarios of the service."""
        return self._service.scenarios

    @property
    def tokens(self) -> TokenInspector:
        """Tokenization and detokenization."""
        return self._service.tokens

    def prompt_ids(self, request: ChatRequest) -> tuple[int, ...]:
        """Token ids of the prompt."""
        return self._service.prompt_ids(request)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Stream a completion for the tenant of the current request."""
        request = self._set_caller(request)
        with _measure_completion(self._service.name, request.output.n, self._metrics) as timer:
            async with aclosing(self._service.stream(request)) as deltas:
                async for delta in deltas:
                    timer.observe(delta)
                    if delta.service is not None:
                        self._metrics.record_service(delta.service)
                    yield delta

    async def reply(self, request: ChatRequest) -> ChatResponse:
        """Return a whole response. It is collected from `stream`, so that the time to the first token is measured."""
        return await collect_response(self.stream, request)

    async def count_input_tokens(self, request: ChatRequest) -> int:
        """Count prompt tokens for the tenant of the current request."""
        return await self._service.count_input_tokens(self._set_caller(request))

    async def attention(self, request: ChatRequest, query: AttentionQuery) -> AttentionWeights:
        """Return attention weights for the tenant of the current request."""
        current_request().model = self._service.name
        return await self._service.attention(self._set_caller(request), query)

    async def embed(self, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
        """Return the embedding of a prompt, and the usage."""
        return await collect_embedding(self.stream, prompt)

    def _set_caller(self, request: ChatRequest) -> ChatRequest:
        scheduling = replace(request.scheduling, tenant=current_tenant())
        consent = self._consent_policy.of_request(request.consent)
        return replace(request, scheduling=scheduling, principal=self._principal, consent=consent)


class InstrumentedEmbeddingService:
    """Wraps an embedding service (implements `core.embedding_service.EmbeddingService`).

    Records a request as one completion.
    """

    def __init__(self, service: EmbeddingService, metrics: ServerMetrics) -> None:
        self._service, self._metrics = service, metrics
        self.name, self.created, self.max_input_tokens = service.name, service.created, service.max_input_tokens
        self.dimension = service.dimension

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """Embed texts for the tenant of the current request. Errors as for `EmbeddingService.embed`."""
        with _measure_completion(self.name, 1, self._metrics) as timer:
            result = await self._service.embed(replace(request, tenant=current_tenant()))
            timer.finish_reason, timer.usage = "stop", Usage(result.prompt_tokens, 0)
            return result


class InstrumentedClassificationService:
    """Wraps a classifier (implements `core.classification_service.ClassificationService`).

    Records a request as one completion.
    """

    def __init__(self, service: ClassificationService, metrics: ServerMetrics) -> None:
        self._service, self._metrics = service, metrics
        self.name, self.created, self.max_input_tokens = service.name, service.created, service.max_input_tokens
        self.task, self.labels, self.is_multi_label = service.task, service.labels, service.is_multi_label

    async def classify(self, request: ClassificationRequest) -> ClassificationResult:
        """Classify texts for the tenant of the current request. Errors as for `ClassificationService.classify`."""
        with _measure_completion(self.name, 1, self._metrics) as timer:
            result = await self._service.classify(replace(request, tenant=current_tenant()))
            timer.finish_reason, timer.usage = "stop", Usage(result.prompt_tokens, 0)
            return result

    async def tag(self, request: TaggingRequest) -> TaggingResult:
        """Tag texts for the tenant of the current request. Errors as for `ClassificationService.tag`."""
        with _measure_completion(self.name, 1, self._metrics) as timer:
            result = await self._service.tag(replace(request, tenant=current_tenant()))
            timer.finish_reason, timer.usage = "stop", Usage(result.prompt_tokens, 0)
            return result


class _CompletionTimer:
    """Times and outcome of one completion. All `n` choices of a request are one completion."""

    def __init__(self, n: int) -> None:
        self.start_time = time.perf_counter()
        self.time_to_first_token: float | None = None
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._n = n
        self._summary_tokens = 0  # generated for a summary of the conversation, before the answer

    def observe(self, delta: ChatDelta) -> None:
        if self.time_to_first_token is None and (delta.text or delta.tool_calls):
            self.time_to_first_token = time.perf_counter() - self.start_time
        if self.finish_reason not in FAILED_FINISH_REASONS:  # one failed choice fails the completion
            self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage
        if delta.context is not None:
            self._summary_tokens = delta.context.usage.completion_tokens

    @property
    def is_complete(self) -> bool:
        """True after the last delta, which carries the usage, or after a failure."""
        return self.usage is not None or self.finish_reason in FAILED_FINISH_REASONS

    def time_per_output_token(self, seconds: float) -> float | None:
        """Seconds per token after the first, averaged over the choices; None if no choice has a second token."""
        num_tokens = 0 if self.usage is None else self.usage.completion_tokens - self._summary_tokens
        if self.time_to_first_token is None or num_tokens <= self._n:
            return None
        return (seconds - self.time_to_first_token) / (num_tokens / self._n - 1)


@contextmanager
def _measure_completion(model: str, n: int, metrics: ServerMetrics) -> Iterator[_CompletionTimer]:
    context, timer = current_request(), _CompletionTimer(n)
    context.model = model
    finish_reason: str | None = "error"
    try:
        yield timer
        finish_reason = timer.finish_reason or "error"
    except UserError:
        finish_reason = None  # a rejected request is not a completion
        raise
    except Exception:
        raise
    except BaseException:  # the generator was closed, or the task was cancelled
        has_timed_out = context.limit is not None and context.limit.expired()
        finish_reason = timer.finish_reason if timer.is_complete else "timeout" if has_timed_out else "cancelled"
        raise
    finally:
        if finish_reason is not None:
            context.finish_reason = finish_reason
            if timer.usage is not None:
                # Sums, because a request may have several prompts.
                context.prompt_tokens = (context.prompt_tokens or 0) + timer.usage.prompt_tokens
                context.completion_tokens = (context.completion_tokens or 0) + timer.usage.completion_tokens
                # Here, because an answer in the background ends after its request.
                prompt_tokens, completion_tokens = timer.usage.prompt_tokens, timer.usage.completion_tokens
                context.add_usage(UsageCounts(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens))
            seconds = time.perf_counter() - timer.start_time
            metrics.record_completion(
                model, finish_reason, seconds, time_to_first_token=timer.time_to_first_token,
                time_per_output_token=timer.time_per_output_token(seconds), usage=timer.usage,
                version=None if context.version is None else context.version.reference,
            )  # fmt: skip
