"""One turn of talk: messages in, the next turn out, piece by piece.

`stream` renders the messages, hands the ids to the generator, turns tokens back into text, ends at stop strings, and
keeps the conversation where it was asked to. Closing it early frees the generator's slots within one step.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from turnwise.chat.choice_stream import ChoiceStream
from turnwise.chat.context_fitting import fit_to_context
from turnwise.chat.context_policies import DEFAULT_CONTEXT_POLICY, get_context_policy
from turnwise.chat.conversation_recorder import ConversationRecorder
from turnwise.chat.delta_accumulator import DeltaAccumulator, collect_embedding, collect_response
from turnwise.chat.request_builder import RequestBuilder, split_choices
from turnwise.chat.summary_cache import SummaryCache
from turnwise.chat.token_inspector import TokenInspector
from turnwise.chat.tool_calling import ToolCallReader
from turnwise.core.chat_request import (
    ChatChoice,
    ChatDelta,
    ChatRequest,
    ChatResponse,
    ContextReport,
    ConversationSummary,
    DecodedLogprobs,
    DecodedToken,
    ResponseFormat,
    Usage,
)
from turnwise.core.errors import TurnwiseError, Unavailable, UserError
from turnwise.core.ports import (
    ConversationStore,
    FinishReason,
    GenerationRequest,
    InferenceEngine,
    RequestHandle,
    TokenEvent,
)
from turnwise.text.rendering.renderer import Renderer

__all__ = [
    "ChatChoice",
    "ChatDelta",
    "ChatRequest",
    "ChatResponse",
    "ChatService",
    "ContextReport",
    "ConversationSummary",
    "DecodedLogprobs",
    "DecodedToken",
    "DeltaAccumulator",
    "ResponseFormat",
    "Usage",
    "collect_embedding",
    "collect_response",
]


@dataclass(frozen=True)
class ChatService:
    """A model that talks.

    Attributes:
        name: what it is called in the API.
        created: when its weights were made, in seconds since 1970.
        fingerprint: changes when weights or decoding change.
        renderer: its chat template.
        generator: its engine.
        defaults: generation parameters it prefers.
        suppressed: tokens that it never says.
        store: where conversations are kept; None keeps none.
        context_policy: what becomes of conversations that the context does not hold, a name in `chat.context`.
    """

    name: str
    created: int
    fingerprint: str
    renderer: Renderer
    engine: InferenceEngine
    defaults: Mapping[str, Any] = field(default_factory=dict)
    suppressed: frozenset[int] = frozenset()
    store: ConversationStore | None = None
    context_policy: str = DEFAULT_CONTEXT_POLICY

    def __post_init__(self) -> None:
        get_context_policy(self.context_policy)  # an unknown name is said now, not at the first long conversation

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        return self.engine.context_length

    @property
    def is_healthy(self) -> bool:
        """False once its engine has stopped after an error; it then refuses all requests."""
        return self.engine.is_healthy

    @cached_property
    def _maker(self) -> RequestBuilder:
        return RequestBuilder(self.name, self.renderer, self.engine, self.defaults, self.suppressed)

    @cached_property
    def tokens(self) -> TokenInspector:
        """Its tokens, to look at."""
        return TokenInspector(self.renderer, self._maker.vocabulary)

    @cached_property
    def _summaries(self) -> SummaryCache:
        return SummaryCache()

    def prompt_ids(self, turn: ChatRequest) -> tuple[int, ...]:
        """What the model reads; see `RequestMaker.prompt_ids`."""
        return self._maker.prompt_ids(turn)

    async def count_input_tokens(self, turn: ChatRequest) -> int:
        """Tokens that the model reads for `turn`, after the context policy. Raises `UserError` where `stream` would."""
        request, _ = await self._fit(turn)
        return len(request.prompt_ids)

    async def _fit(self, turn: ChatRequest) -> tuple[GenerationRequest, ContextReport | None]:
        name = turn.context_policy or self.context_policy
        return await fit_to_context(turn, name, self._maker, self._summaries, self._write)

    def build_request(self, turn: ChatRequest) -> GenerationRequest:
        """What the generator is asked for, whatever the context policy; see `RequestMaker.request`."""
        return self._maker.build_request(turn)

    async def stream(self, turn: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """The answers as they arrive; the pieces concatenate to `reply`'s texts for the same seed.

        Raises:
            UserError: see `request`; before the first piece. The messages are stored all the same.
            NotFound: `conversation_id` names no conversation.
            Unavailable: the store is busy; before the first piece nothing was stored or generated.
            TurnwiseError: the generator failed.
        """
        recorder = await ConversationRecorder.start(self.store, turn, self.name)
        try:
            request, context = await self._fit(turn)
        except UserError as error:
            if recorder is not None:
                await recorder.record_error(error)
            raise
        begun: set[int] = set()
        finish: FinishReason = "cancelled"
        try:
            async with aclosing(self._generate(request, turn)) as deltas:
                async for delta in deltas:
                    if recorder is not None:
                        recorder.add(delta)
                        if delta.usage is not None:  # the last one: a client that has it has an answer that is stored
                            await recorder.save_complete()
                    if turn.echo and delta.index not in begun:
                        delta = replace(delta, text=_opening(turn) + delta.text)
                    begun.add(delta.index)
                    if context is not None and delta.usage is not None:
                        delta = replace(delta, usage=delta.usage + context.usage, context=context)
                    yield delta
        except TurnwiseError:
            finish = "error"
            raise
        finally:
            if recorder is not None:  # also when the client left: what was written so far belongs to the conversation
                await recorder.save_partial(finish)

    async def reply(self, turn: ChatRequest) -> ChatResponse:
        """The answers, whole; the best of more where it was asked for. Raises as `stream` does."""
        return await collect_response(self.stream, turn)

    async def embed(self, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
        """The vector of a text, or of its ids, and what it took. Raises as `stream` does."""
        return await collect_embedding(self.stream, prompt)

    async def _write(self, request: GenerationRequest) -> tuple[str, Usage]:
        """The answer to a request of our own, and what it took."""
        gathering = DeltaAccumulator(1)
        async with aclosing(self._generate(request, ChatRequest(()))) as deltas:
            async for delta in deltas:
                if (reply := gathering.add(delta)) is not None:
                    if reply.finish_reason == "cancelled":
                        raise Unavailable("The model is being taken out of service.")
                    return reply.text, reply.usage
        raise AssertionError("a stream ends with the usage")

    async def _generate(self, request: GenerationRequest, turn: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[tuple[int, TokenEvent]] = asyncio.Queue()

        def deliver(first: int, event: TokenEvent) -> None:
            with suppress(RuntimeError):  # the loop is closed: whoever listened has left and cancelled
                loop.call_soon_threadsafe(events.put_nowait, (first + event.index, event))

        prefix = request.prompt_ids if turn.is_continuation and not self.engine.is_encoder_decoder else ()
        reading = ToolCallReader.of(turn, self.renderer)
        answers = [
            ChoiceStream(index, request, self.renderer.tokenizer, self.tokens, prefix, reading)
            for index in range(turn.n)
        ]
        tickets: list[RequestHandle] = []
        try:
            for index, own in enumerate(split_choices(request, turn.n)):
                tickets.append(self.engine.submit(own, partial(deliver, index)))
            left = turn.n
            while left:
                index, event = await events.get()
                answer = answers[index]
                if answer.done:
                    continue  # cancelled at a stop string; the engine had not heard of it yet
                delta = answer.push(event)
                if answer.has_stopped and len(tickets) == len(answers):
                    tickets[index].cancel()  # now: the listener may take its time before it asks for more
                left -= answer.done
                if delta is not None:
                    yield delta if left else replace(delta, usage=_usage(request, answers))
        finally:
            for ticket in tickets:
                ticket.cancel()


def _usage(request: GenerationRequest, answers: Sequence[ChoiceStream]) -> Usage:
    """What all answers took; they share their prompt, which the first of them reads."""
    return Usage(
        len(request.prompt_ids),
        sum(answer.generated for answer in answers),
        answers[0].stats.cached_tokens,
        sum(answer.stats.accepted_prediction_tokens for answer in answers),
        sum(answer.stats.rejected_prediction_tokens for answer in answers),
    )


def _opening(turn: ChatRequest) -> str:
    """What the answer goes on from."""
    return turn.messages[-1].content if turn.continue_final_message else ""
