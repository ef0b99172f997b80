"""A chat service that answers by scenarios, and is silent while a person speaks with the customer.

A request that names knowledge bases and no scenario is answered from their documents. Other requests without a
scenario are passed on to the model. Conversations are read and written as the principal of the request.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from turnwise.chat.answer_start import with_answer_text
from turnwise.chat.conversation_recorder import ConversationRecorder
from turnwise.chat.delta_accumulator import collect_embedding, collect_response
from turnwise.chat.service_path import safety_line
from turnwise.chat.service_path.answer_stream import (
    StoredTurn,
    stream_answer,
    stream_during_handoff,
    stream_handoff,
    stream_safety_line,
)
from turnwise.chat.service_path.branch_state import state_meta
from turnwise.chat.service_path.conversation_context import ConversationContext, open_context
from turnwise.chat.service_path.document_scenario import DOCUMENT_SCENARIO, DOCUMENT_STEPS, EMPTY_RESOURCES
from turnwise.chat.service_path.handoff_state import silent_answer
from turnwise.chat.service_path.language import detect_language
from turnwise.chat.service_path.passage_finders import MergedFinder, PassageFinder, WordFinder
from turnwise.chat.service_path.path import STEPS, run_steps
from turnwise.chat.service_path.scenario_listing import list_scenarios
from turnwise.chat.service_path.scenario_resources import ResourceCache, ScenarioResources
from turnwise.chat.service_path.service_checks import check_scenario_request
from turnwise.chat.service_path.state_inference import infer_state
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn
from turnwise.core.attention import AttentionQuery, AttentionWeights
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta, ChatResponse, Usage
from turnwise.core.chat_service import ChatService, ScenarioInfo, TokenInspector
from turnwise.core.errors import InvalidParameter, TurnwiseError, did_you_mean
from turnwise.core.executors import STORE_WRITE_EXECUTOR
from turnwise.core.handoff_notices import handoff_notices
from turnwise.core.knowledge_service import KnowledgeService
from turnwise.core.served_versions import AnsweringVersion
from turnwise.core.service_report import ServiceDecision, ServiceReport
from turnwise.core.stored_conversations import HEAD, ConversationStore
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.scenario_library import ScenarioLibrary

log = logging.getLogger("turnwise.chat")


class ScenarioChatService:
    """Answers by the steps of `path` (implements `core.chat_service.ChatService`)."""

    def __init__(
        self,
        model: ChatService,
        library: ScenarioLibrary | None = None,
        *,
        default_scenario: str | None = None,
        models: Mapping[str, ChatService] | None = None,
        knowledge: Mapping[str, KnowledgeService] | None = None,
        resources: ResourceCache | None = None,
        rewrites_templates: bool = False,
        version: AnsweringVersion | None = None,
    ) -> None:
        """Put the service path before a model.

        Args:
            model: generates answers, and answers requests without a scenario.
            library: the scenarios; None: hand-offs only.
            default_scenario: scenario of requests that name none.
            models: served models by name, for scenarios with an adapter.
            knowledge: knowledge bases by name.
            resources: classifiers of the scenarios; several services can share them.
            rewrites_templates: let the model rewrite template answers in the scenario's tone.
            version: version of the model, which is stored with answers; None: it has no versions.
        """
        self._model, self._library, self._default_scenario = model, library, default_scenario
        # The mapping may still be empty: it is filled while the versions of models are loaded.
        self._models, self._knowledge = {} if models is None else models, knowledge or {}
        self._resources, self._rewrites_templates = resources or ResourceCache(), rewrites_templates
        self._version_meta: Mapping[str, Any] = {} if version is None else version.meta
        self.name, self.created, self.fingerprint = model.name, model.created, model.fingerprint
        self.defaults: Mapping[str, Any] = model.defaults
        self.context_length, self.context_policy = model.context_length, model.context_policy
        self.store: ConversationStore | None = model.store

    @property
    def is_healthy(self) -> bool:
        """False after a fatal error of the model."""
        return self._model.is_healthy

    @property
    def tokens(self) -> TokenInspector:
        """Tokenization and detokenization of the model."""
        return self._model.tokens

    @property
    def scenarios(self) -> Sequence[ScenarioInfo]:
        """The scenarios that requests can name."""
        return () if self._library is None else list_scenarios(self._library)

    def prompt_ids(self, request: ChatRequest) -> tuple[int, ...]:
        """Token ids of the prompt without a scenario."""
        return self._model.prompt_ids(request)

    async def count_input_tokens(self, request: ChatRequest) -> int:
        """Number of prompt tokens without a scenario."""
        return await self._model.count_input_tokens(request)

    async def attention(self, request: ChatRequest, query: AttentionQuery) -> AttentionWeights:
        """What the last token of the prompt without a scenario attends to."""
        return await self._model.attention(request, query)

    async def reply(self, request: ChatRequest) -> ChatResponse:
        """Generate the complete response. Raises as `stream` does."""
        return await collect_response(self.stream, request)

    async def embed(self, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
        """Embedding of a text or of token ids, and the usage."""
        return await collect_embedding(self.stream, prompt)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Answer a request. Raises as `ChatService.stream` does, and `InvalidParameter` for an unknown scenario."""
        request = with_answer_text(request, self) if request.context.answer_ids else request
        has_default = request.prompt is None and request.output.generates  # the model alone reports on its tokens
        name = request.service.scenario or (self._default_scenario if has_default else None)
        check_scenario_request(
            request, name, has_scenarios=self._library is not None, has_knowledge=bool(self._knowledge)
        )
        definition = None if name is None or self._library is None else self._library.get(name)
        if definition is None and request.service.knowledge:
            definition = DOCUMENT_SCENARIO
        try:
            deltas = await self._open_answer(request, definition)
        except (TurnwiseError, OSError) as error:
            line = None if definition is None else safety_line.answer_alone(definition, request.messages[-1].content)
            if line is None:
                raise
            log.error("A safety line is said without its conversation: %s", error)
            deltas = stream_safety_line(*line, None)
        async with aclosing(deltas):
            async for delta in deltas:
                yield delta

    async def _open_answer(
        self, request: ChatRequest, definition: ScenarioDefinition | None
    ) -> AsyncGenerator[ChatDelta, None]:
        """Decide how to answer. The stream that is returned sends and stores the answer."""
        notices = () if definition is None else tuple((definition.settings.messages.hand_off or {}).values())
        context = await open_context(self.store, request, notices)
        if context.is_handed_off and not await self._receive(request, context):
            context = await open_context(self.store, request, notices)  # it has ended meanwhile
        if definition is not None:
            return await self._answer_scenario(request, definition, context)
        return self._stay_silent(request, context) if context.is_handed_off else self._pass_on(request, context)

    async def _receive(self, request: ChatRequest, context: ConversationContext) -> bool:
        """Store the customer's new messages for the person. Returns False if the hand-off is over."""
        assert context.store is not None
        assert request.conversation_id is not None
        messages = [message for message in context.branch.new if message.role == "user"]
        if not messages:
            return True
        receive = context.store.handoffs.receive
        return await STORE_WRITE_EXECUTOR.run(receive, request.conversation_id, messages) is not None

    async def _pass_on(self, request: ChatRequest, context: ConversationContext) -> AsyncGenerator[ChatDelta, None]:
        """Let the model answer, without notices in its context, and only until a person takes over."""
        recorder = None
        if context.handoff is not None:  # else the model stores the conversation itself
            recorder = await self._start_recorder(request, context)
            request = replace(request, messages=context.branch.visible, conversation_id=None)
        answer = ServiceAnswer("generate", deltas=self._model.stream(request))
        async with aclosing(stream_answer(answer, None, recorder, context.watch)) as deltas:
            async for delta in deltas:
                yield delta

    def _stay_silent(self, request: ChatRequest, context: ConversationContext) -> AsyncGenerator[ChatDelta, None]:
        assert context.handoff is not None
        language = context.handoff.request.language
        answer = silent_answer(context.handoff.status.speaker, handoff_notices(language)["wait"])
        report = ServiceReport("", language, answer.decision, is_notice=answer.is_notice)
        turn = self._stored_turn(request, context, None, {})
        assert turn is not None
        return stream_during_handoff(answer, report, turn)

    async def _answer_scenario(
        self, request: ChatRequest, definition: ScenarioDefinition, context: ConversationContext
    ) -> AsyncGenerator[ChatDelta, None]:
        turn = self._build_turn(request, definition, context, EMPTY_RESOURCES)
        recorder = None if context.is_handed_off else await self._start_recorder(request, context)
        try:
            turn, answer, decisions = await self._decide(turn, context)
        except TurnwiseError as error:
            if recorder is not None:
                await recorder.record_error(error)
            raise
        is_notice = answer.is_notice or answer.handoff is not None
        report = ServiceReport(definition.name, turn.language, answer.decision, decisions, answer.citations, is_notice)
        turn.state.record(answer.decision)
        turn.state.language = turn.language
        meta = state_meta(turn.state)
        stored_turn = self._stored_turn(request, context, recorder, meta)
        if decisions[-1].step == safety_line.NAME:
            return stream_safety_line(answer, replace(report, is_notice=False), stored_turn)
        if stored_turn is not None and context.is_handed_off:
            return stream_during_handoff(answer, report, stored_turn)
        if stored_turn is not None and answer.handoff is not None:
            return stream_handoff(answer, answer.handoff, report, stored_turn)
        if recorder is not None:
            recorder.annotate(meta)
        return stream_answer(answer, report, recorder, context.watch)

    def _stored_turn(
        self, request: ChatRequest, context: ConversationContext, recorder: ConversationRecorder | None,
        meta: Mapping[str, Any],
    ) -> StoredTurn | None:  # fmt: skip
        if context.store is None or request.conversation_id is None:
            return None
        parent_id = HEAD if recorder is None else recorder.last_request_id
        stored_meta = {**self._version_meta, **meta}
        return StoredTurn(context.store, request.conversation_id, self.name, parent_id, stored_meta)

    async def _start_recorder(self, request: ChatRequest, context: ConversationContext) -> ConversationRecorder | None:
        stored = replace(request, messages=context.branch.stored)
        recorder = await ConversationRecorder.start(self.store, stored, self.name)
        if recorder is not None:
            recorder.annotate(self._version_meta)
            recorder.follow_handoffs()
        return recorder

    async def _decide(
        self, turn: ServiceTurn, context: ConversationContext
    ) -> tuple[ServiceTurn, ServiceAnswer, tuple[ServiceDecision, ...]]:
        """Run the steps. A safety line needs none of the scenario's resources.

        Phrases decide first. If the resources are late or fail, the classifier of safety lines decides by words alone.

        Args:
            turn: the turn without resources.
            context: its conversation.
        """
        request, definition = turn.request, turn.definition
        if definition is DOCUMENT_SCENARIO:
            return turn, *await run_steps(turn, DOCUMENT_STEPS)
        if (line := safety_line.decide_alone(turn, by_classifier=False)) is not None:
            return turn, *line
        loading = asyncio.ensure_future(self._resources.get(definition))
        await asyncio.wait([loading], timeout=safety_line.MAX_WAIT_SECONDS)
        is_ready = loading.done() and loading.exception() is None
        if not is_ready and (line := safety_line.decide_alone(turn, by_classifier=True)) is not None:
            return turn, *line
        turn = self._build_turn(request, definition, context, await loading)
        return turn, *await run_steps(turn, STEPS)

    def _build_turn(
        self, request: ChatRequest, definition: ScenarioDefinition, context: ConversationContext,
        resources: ScenarioResources,
    ) -> ServiceTurn:  # fmt: skip
        is_document_scenario = definition is DOCUMENT_SCENARIO
        messages = context.branch.visible
        state = context.state or infer_state(definition, messages)
        settings = definition.settings
        language = detect_language(
            messages[-1].content, settings.languages, state.language or settings.default_language
        )
        return ServiceTurn(
            definition, language, messages, request, state, self._model_for(definition), resources.classifier,
            self._finder(request, resources, language), resources.thresholds, context.handoff,
            self.store is not None, self._rewrites_templates, resources.classifier_state, resources.safety_encoder,
            kind="knowledge" if is_document_scenario else None,
        )  # fmt: skip

    def _model_for(self, definition: ScenarioDefinition) -> ChatService:
        adapter = definition.settings.adapter
        if adapter is None or adapter == self._model.name:
            return self._model
        if adapter not in self._models:
            raise InvalidParameter(
                "scenario", f"The scenario '{definition.name}' needs the model '{adapter}', which is not served here."
            )
        return self._models[adapter]

    def _finder(self, request: ChatRequest, resources: ScenarioResources, language: str) -> PassageFinder | None:
        finders = [finder for finder in (resources.finders.get(language),) if finder is not None]
        for name in request.service.knowledge:
            if name not in self._knowledge:
                hint = did_you_mean(name, self._knowledge) if self._knowledge else "this server has none."
                raise InvalidParameter("knowledge", f"There is no knowledge base '{name}'; {hint}")
            finders.append(WordFinder(self._knowledge[name].retriever(request.scheduling.tenant)))
        return MergedFinder(finders) if finders else None
