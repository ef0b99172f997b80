"""The chat service on an inference engine: messages in, response out as a stream of deltas.

`EngineChatService.stream` fits the messages into the context, renders them, submits the token ids to the engine,
converts tokens to text, stops at stop strings and stores the conversation. Closing the stream early cancels generation
within one engine step.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from turnwise.chat.answer_start import num_incomplete_ids, with_answer_text
from turnwise.chat.attention_reader import AttentionReader
from turnwise.chat.beam_decoding import decode_beams
from turnwise.chat.best_of import with_scores
from turnwise.chat.choice_requests import split_choices
from turnwise.chat.choice_stream import ChoiceStream
from turnwise.chat.context_fitting import RequestContextBudget, fit_to_context
from turnwise.chat.context_policies import CONTEXT_POLICIES, DEFAULT_CONTEXT_POLICY
from turnwise.chat.conversation_recorder import ConversationRecorder
from turnwise.chat.delta_accumulator import DeltaAccumulator, collect_embedding, collect_response
from turnwise.chat.formats import format_of_template
from turnwise.chat.grounding import add_passages
from turnwise.chat.interaction_format import InteractionFormat, PreparedTurn
from turnwise.chat.request_builder import RequestBuilder
from turnwise.chat.request_checks import check_no_scenario
from turnwise.chat.summary_cache import SummaryCache
from turnwise.chat.token_inspector import RendererTokenInspector
from turnwise.chat.tool_calling import ToolCallReader
from turnwise.core.attention import NO_ATTENTION, AttentionQuery, AttentionWeights
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import (
    ChatDelta,
    ChatResponse,
    ContextReport,
    DecodedBeamTree,
    Usage,
)
from turnwise.core.chat_service import ScenarioInfo
from turnwise.core.errors import ContextLengthExceeded, TurnwiseError, Unavailable, UserError
from turnwise.core.inference import FinishReason, GenerationRequest, InferenceEngine, SearchTraceEvent
from turnwise.core.inference_client import EventStream
from turnwise.core.messages import Message, last_question
from turnwise.core.reply_scoring import ChoiceRanker
from turnwise.core.retrieval import Retriever
from turnwise.core.served_versions import AnsweringVersion
from turnwise.core.stored_conversations import ConversationStore
from turnwise.text.rendering.renderer import Renderer


@dataclass(frozen=True)
class EngineChatService:
    """Generates responses with an inference engine (implements `core.chat_service.ChatService`).

    Attributes:
        name: served model name.
        created: Unix time of the weights, in seconds.
        fingerprint: changes with the weights and the decoding settings.
        renderer: chat template and tokenizer.
        engine: inference engine.
        defaults: generation parameters of the model.
        suppressed: token ids that are never generated.
        store: conversation store; None: store nothing.
        context_policy: name of the default policy in `chat.context_policies`, for conversations longer than the
            context.
        retriever: finds passages that are added to the prompt; None: add nothing.
        format: interaction format, whose template the renderer has. None: the one that made the template.
        version: version of the model, which is stored with answers; None: the model has no versions.
        ranker: scores the choices of `best_of`; None: their likelihood ranks them.
        attention_reader: computes attention weights; None: they cannot be shown for this model.
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
    retriever: Retriever | None = None
    format: InteractionFormat | None = None
    version: AnsweringVersion | None = None
    ranker: ChoiceRanker | None = None
    attention_reader: AttentionReader | None = None

    def __post_init__(self) -> None:
        CONTEXT_POLICIES.load(self.context_policy)  # report an unknown name now, not at the first long conversation

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and response together."""
        return self.engine.context_length

    @property
    def scenarios(self) -> tuple[ScenarioInfo, ...]:
        """None: `service_path.ScenarioChatService` adds them."""
        return ()

    @property
    def is_healthy(self) -> bool:
        """False after a fatal engine error. The engine then rejects all requests."""
        return self.engine.is_healthy

    @cached_property
    def _request_builder(self) -> RequestBuilder:
        return RequestBuilder(self.name, self.renderer, self.engine, self.defaults, self.suppressed)

    @cached_property
    def tokens(self) -> RendererTokenInspector:
        """Tokenization and detokenization for clients."""
        return RendererTokenInspector(self.renderer, self._request_builder.vocabulary)

    @cached_property
    def interaction_format(self) -> InteractionFormat:
        """How a conversation is put before the model, and how its output becomes a reply."""
        return format_of_template(self.renderer.turn_format) if self.format is None else self.format

    @cached_property
    def _summaries(self) -> SummaryCache:
        return SummaryCache()

    def prompt_ids(self, request: ChatRequest) -> tuple[int, ...]:
        """Token ids of the prompt; see `RequestBuilder.prompt_ids`."""
        return self._request_builder.prompt_ids(request)

    async def count_input_tokens(self, request: ChatRequest) -> int:
        """Number of prompt tokens, with passages and after the context policy. Raises `UserError` as `stream` does."""
        prepared = await self.prepare(request)
        if prepared.reply is not None:
            return 0
        return len((await self.fit(replace(request, messages=prepared.messages))).prompt_ids)

    async def prepare(self, request: ChatRequest) -> PreparedTurn:
        """What the interaction format makes of the messages; they are unchanged for a prompt or a continuation.

        Raises:
            UserError: as `stream` does.
        """
        is_continuation = request.is_continuation and not request.context.answer_ids
        if not self.interaction_format.PREPARES or is_continuation or not request.messages:
            return PreparedTurn(request.messages)
        await asyncio.to_thread(self._request_builder.check_request, request)
        writer = RequestContextBudget(request, self._request_builder, self._summaries, self._generate_internal)
        return await self.interaction_format.prepare(request.messages, writer)

    async def fit(self, request: ChatRequest) -> GenerationRequest:
        """The engine request with passages and after the context policy. Raises `UserError` as `stream` does."""
        return (await self._fit(request))[0]

    async def _fit(self, request: ChatRequest) -> tuple[GenerationRequest, ContextReport | None]:
        if self.retriever is not None:
            grounded = await add_passages(request, self.retriever, self._request_builder)
            if grounded is not None:
                with suppress(ContextLengthExceeded):
                    return await self._fit_messages(grounded, request.messages)
        return await self._fit_messages(request, request.messages)

    async def _fit_messages(
        self, request: ChatRequest, client_messages: Sequence[Message]
    ) -> tuple[GenerationRequest, ContextReport | None]:
        name = request.context.policy or self.context_policy
        fitted, report = await fit_to_context(
            request, name, self._request_builder, self._summaries, self._generate_internal
        )
        # Passages and summaries are added to user and system messages, and are no part of the question.
        return replace(fitted, question=last_question(client_messages)), report

    def build_request(self, request: ChatRequest) -> GenerationRequest:
        """The engine request, without passages or a context policy; see `RequestBuilder.build_request`."""
        return self._request_builder.build_request(request)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Generate the response as a stream of deltas. With the same seed they concatenate to the result of `reply`.

        Raises:
            UserError: see `build_request`; before the first delta. The messages are stored nevertheless.
            NotFound: there is no conversation `conversation_id`.
            Unavailable: the store is busy. Before the first delta: nothing was stored or generated.
            TurnwiseError: the engine failed.
        """
        check_no_scenario(request)
        request = with_answer_text(request, self)
        recorder = await ConversationRecorder.start(self.store, request, self.name)
        if recorder is not None and self.version is not None:
            recorder.annotate(self.version.meta)
        try:
            prepared = await self.prepare(request)
            request = replace(request, messages=prepared.messages)
            fitted = None if prepared.reply is not None else await self._fit(request)
        except UserError as error:
            if recorder is not None:
                await recorder.record_error(error)
            raise
        started: set[int] = set()
        finish_reason: FinishReason = "cancelled"
        try:
            context = None if fitted is None else fitted[1]
            if recorder is not None and context is not None:
                recorder.annotate({"context": context.stored_meta()})
            preparation = prepared.usage + (Usage(0, 0) if context is None else context.usage)
            source = _fixed_reply(prepared, request) if fitted is None else self._generate_ranked(fitted[0], request)
            async with aclosing(source) as deltas:
                async for delta in deltas:
                    if recorder is not None:
                        recorder.add(delta)
                        if delta.usage is not None:
                            # Save before the last delta is sent: a client that has it can rely on the stored response.
                            await recorder.save_complete()
                    if request.output.echo and delta.index not in started:
                        delta = replace(delta, text=request.continued_text + delta.text)
                    started.add(delta.index)
                    if delta.usage_so_far is not None and preparation != Usage(0, 0):
                        delta = replace(delta, usage_so_far=delta.usage_so_far + preparation)
                    if delta.usage is not None and fitted is not None:
                        delta = replace(delta, usage=delta.usage + prepared.usage)
                    if context is not None and delta.usage is not None:
                        delta = replace(delta, usage=delta.usage + context.usage, context=context)
                    yield delta
        except TurnwiseError:
            finish_reason = "error"
            raise
        finally:
            if recorder is not None:  # after a disconnect too: save the text generated so far
                await recorder.save_partial(finish_reason)

    async def reply(self, request: ChatRequest) -> ChatResponse:
        """Generate the complete response; the best choices if `best_of` is set. Raises as `stream` does."""
        return await collect_response(self.stream, request)

    async def attention(self, request: ChatRequest, query: AttentionQuery) -> AttentionWeights:
        """What the last token of the prompt attends to. Raises as `stream` and `AttentionReader.read` do."""
        if self.attention_reader is None:
            raise UserError(NO_ATTENTION)
        request = with_answer_text(request, self)
        prepared = await self.prepare(request)
        if prepared.reply is not None:
            raise UserError("The interaction format of this model answers here without choosing tokens.")
        return await self.attention_reader.read(await self.fit(replace(request, messages=prepared.messages)), query)

    async def embed(self, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
        """Embedding of a text or of token ids, and the usage. Raises as `stream` does."""
        return await collect_embedding(self.stream, prompt)

    async def _generate_internal(self, generation_request: GenerationRequest) -> tuple[str, Usage]:
        """Text and usage of an internal request, for example for a summary. Empty if its prompt fills the context."""
        if generation_request.max_tokens <= 0:
            return "", Usage(0, 0)
        accumulator = DeltaAccumulator(1)
        async with aclosing(self._generate(generation_request, ChatRequest())) as deltas:
            async for delta in deltas:
                if (reply := accumulator.add(delta)) is not None:
                    if reply.finish_reason == "cancelled":
                        raise Unavailable("The model is being taken out of service.")
                    return reply.text, reply.usage
        raise AssertionError("a stream ends with the usage")

    def _generate_ranked(
        self, generation_request: GenerationRequest, request: ChatRequest
    ) -> AsyncGenerator[ChatDelta, None]:
        """The deltas of the choices; the last one has their scores if the request asks for them."""
        deltas = self._generate(generation_request, request)
        if self.ranker is None or not request.output.is_ranked:
            return deltas
        return with_scores(deltas, self.ranker, request, generation_request.prompt_ids)

    async def _generate(
        self, generation_request: GenerationRequest, request: ChatRequest
    ) -> AsyncGenerator[ChatDelta, None]:
        prefix = generation_request.prompt_ids if request.is_continuation and not self.engine.is_encoder_decoder else ()
        num_incomplete = num_incomplete_ids(self.renderer.tokenizer, request.context.answer_ids)
        beams: DecodedBeamTree | None = None
        tool_call_reader = ToolCallReader.for_request(request, self.renderer)
        choices = [
            ChoiceStream(
                index,
                generation_request,
                self.renderer.tokenizer,
                self.tokens,
                prefix[: len(prefix) - num_incomplete],
                tool_call_reader,
                self._request_builder.reply_trimmer(request),
                prefix[len(prefix) - num_incomplete :],
            )
            for index in range(request.output.n)
        ]
        requests = split_choices(generation_request, request.output.n)
        with EventStream(self.engine, requests) as events:
            remaining = request.output.n
            while remaining:
                index, event = await events.next()
                if isinstance(event, SearchTraceEvent):
                    beams = await asyncio.to_thread(decode_beams, event.tree, self.tokens)
                    continue
                choice = choices[index + event.index]  # a beam search is one request with several choices
                if choice.is_done:
                    continue  # stopped at a stop string; the engine sent this event before it was cancelled
                delta = choice.push(event)
                if choice.has_stopped and len(requests) == len(choices):
                    # Cancel before the yield: the consumer may take its time to ask for the next delta. The request of
                    # a beam search belongs to all choices and is cancelled at the end.
                    events.cancel(index)
                remaining -= choice.is_done
                if delta is not None:
                    yield delta if remaining else replace(delta, usage=_usage(generation_request, choices), beams=beams)


async def _fixed_reply(prepared: PreparedTurn, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
    """The deltas of a reply without the model, equal for all choices."""
    assert prepared.reply is not None
    for index in range(request.output.n):
        usage = prepared.usage if index == request.output.n - 1 else None
        yield ChatDelta(prepared.reply, "stop", usage, index)


def _usage(generation_request: GenerationRequest, choices: Sequence[ChoiceStream]) -> Usage:
    """Usage of all choices. They share the prompt; only the first one prefills it."""
    return Usage(
        len(generation_request.prompt_ids),
        sum(choice.num_generated_tokens for choice in choices),
        choices[0].stats.cached_tokens,
        sum(choice.stats.accepted_prediction_tokens for choice in choices),
        sum(choice.stats.rejected_prediction_tokens for choice in choices),
        sum(choice.stats.accepted_draft_tokens for choice in choices),
    )
