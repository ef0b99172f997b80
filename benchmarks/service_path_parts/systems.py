"""The systems that are compared: the model alone, retrieval alone, templates alone, and the whole service path."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service_path_parts.judge import Reply, ShopTexts
from turnwise.chat.service_path import intent, template_answer
from turnwise.chat.service_path.conversation_state import ConversationState
from turnwise.chat.service_path.language import detect_language
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.chat.service_path.turn import ServiceTurn
from turnwise.core.chat_request import ChatRequest, ServiceOptions
from turnwise.core.chat_service import ChatService
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import ConversationStore
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.field_types import localize

SEED = 0


class Conversation(Protocol):
    """One dialogue with a system."""

    async def answer(self, messages: Sequence[Message]) -> Reply:
        """The reply to the last message, which the customer wrote."""


class DialogueSystem(Protocol):
    """A system that holds dialogues."""

    @property
    def name(self) -> str:
        """Name in tables and of its file."""

    def start(self) -> Conversation:
        """Begin a dialogue."""


class StatelessSystem(Conversation, Protocol):
    """A system that answers from the messages alone, so that one object holds all dialogues."""

    def start(self) -> Conversation:
        """Begin a dialogue."""
        return self


@dataclass(frozen=True, slots=True)
class ModelAlone(StatelessSystem):
    """The model with the instruction and the examples of the scenario as the system message."""

    model: ChatService
    definition: ScenarioDefinition
    name: str = "model"

    async def answer(self, messages: Sequence[Message]) -> Reply:
        """Generate a reply."""
        started = time.perf_counter()
        scenario = self.definition.as_scenario(_language(self.definition, messages))
        sampling = {**self.definition.settings.sampling, "seed": SEED}
        response = await self.model.reply(ChatRequest(tuple(scenario.prepend_to(messages)), sampling))
        return Reply(response.text, None, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class RetrievalAlone(StatelessSystem):
    """The best passage of the documents, word for word."""

    definition: ScenarioDefinition
    resources: ResourceCache
    name: str = "retrieval"

    async def answer(self, messages: Sequence[Message]) -> Reply:
        """The text of the best passage, or the sentence of the scenario for none."""
        resources = await self.resources.get(self.definition)
        started = time.perf_counter()
        language = _language(self.definition, messages)
        finder = resources.finders.get(language)
        customer = [message.content for message in messages if message.role == "user"]
        passages = [] if finder is None else await finder.find(customer, 1)
        texts = [item.passage.text for item in passages] or [
            _message(self.definition.settings.messages.no_answer, self.definition, language)
        ]
        return Reply(texts[0], None, time.perf_counter() - started)


@dataclass(slots=True)
class TemplatesAlone:
    """The template of the intent if it is certain and has one; a person otherwise."""

    model: ChatService
    definition: ScenarioDefinition
    resources: ResourceCache
    name: str = "templates"
    state: ConversationState = field(default_factory=ConversationState)

    def start(self) -> Conversation:
        """Begin a dialogue with an empty state."""
        return TemplatesAlone(self.model, self.definition, self.resources)

    async def answer(self, messages: Sequence[Message]) -> Reply:
        """Predict the intent and fill a template."""
        resources = await self.resources.get(self.definition)
        started = time.perf_counter()
        language = _language(self.definition, messages)
        turn = ServiceTurn(
            self.definition, language, tuple(messages), ChatRequest(tuple(messages)), self.state, self.model,
            resources.classifier, None, resources.thresholds,
        )  # fmt: skip
        await intent.decide(turn)
        answer = (await template_answer.decide(turn)).answer
        if answer is None:
            text = _message(self.definition.settings.messages.hand_off, self.definition, language)
            return Reply(text, "hand_off", time.perf_counter() - started)
        self.state.record(answer.decision)
        return Reply(answer.text, answer.decision, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class ServicePath:
    """The service path as the server runs it. Each dialogue is stored, so a person can take over."""

    service: ChatService
    scenario: str
    store: ConversationStore
    name: str = "path"

    def start(self) -> Conversation:
        """Begin a dialogue in a conversation of its own."""
        conversation = self.store.create(title="benchmark", model=self.service.name)
        return StoredConversationOfPath(self.service, self.scenario, conversation.id)


@dataclass(frozen=True, slots=True)
class StoredConversationOfPath:
    """A dialogue with the service path."""

    service: ChatService
    scenario: str
    conversation_id: str

    async def answer(self, messages: Sequence[Message]) -> Reply:
        """Send a request as a client does."""
        started = time.perf_counter()
        request = ChatRequest(
            tuple(messages), {"seed": SEED}, conversation_id=self.conversation_id, service=ServiceOptions(self.scenario)
        )
        response = await self.service.reply(request)
        decision = None if response.service is None else response.service.decision
        return Reply(response.text, decision, time.perf_counter() - started)


def shop_texts(definition: ScenarioDefinition) -> ShopTexts:
    """The values of everything that the scenario may say."""
    messages = definition.settings.messages
    by_language = [
        messages.clarify, messages.hand_off, messages.no_answer,
        *(slot.ask for slot in definition.slots.values()),
        *(entry.question for entry in definition.intents.values()),
    ]  # fmt: skip
    texts = [text for entry in by_language if entry is not None for text in entry.values()]
    texts += [document.text or "" for document in definition.documents]
    for language in definition.settings.languages:
        facts = definition.fact_values(language)
        texts += [definition.system_prompt(language), *facts.values()]
        texts += [definition.refusal_text(topic, language) for topic in definition.refusals]
    texts += [text.source for _, _, _, text in definition.answer_templates()]
    texts += [say for line in definition.safety.values() for say in line.say.values()]
    return ShopTexts.of(texts)


def _language(definition: ScenarioDefinition, messages: Sequence[Message]) -> str:
    """The language of the last message; that of the first one if its script tells nothing, as for an order number."""
    settings = definition.settings
    first = detect_language(messages[0].content, settings.languages, settings.default_language)
    return detect_language(messages[-1].content, settings.languages, first)


def _message(texts: Mapping[str, str] | None, definition: ScenarioDefinition, language: str) -> str:
    """A message of the scenario in a language; "" if it has none."""
    return "" if texts is None else localize(texts, language, definition.settings.default_language)
