"""One message on the service path: what the steps know, and what they return."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from turnwise.chat.service_path.conversation_state import ConversationState
from turnwise.chat.service_path.intent_classifier import IntentPrediction, IntentPredictor, TextEncoder
from turnwise.chat.service_path.passage_finders import PassageFinder
from turnwise.chat.service_path.tuned_thresholds import Thresholds
from turnwise.core.chat_request import ChatRequest, ServiceOptions
from turnwise.core.chat_response import ChatDelta, Usage
from turnwise.core.chat_service import ChatService
from turnwise.core.handoff_notices import handoff_notices
from turnwise.core.handoffs import Handoff, HandoffRequest
from turnwise.core.messages import Message
from turnwise.core.service_report import Citation
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.field_types import localize
from turnwise.scenarios.intents import AnswerKind

ClassifierState = Literal["fitted", "earlier", "examples"]
"""Which classifier answers: the fitted one, that of the version before, or the comparison with example messages."""


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """An answer of the service path.

    Attributes:
        decision: see `ServiceReport.decision`.
        text: the answer; empty if `deltas` generate it, or if a person speaks.
        citations: passages that the text cites.
        usage: tokens spent on it.
        is_notice: the text is for the customer only.
        deltas: generates the answer; the last delta has the usage.
        handoff: a hand-off to open with this answer.
    """

    decision: str
    text: str = ""
    citations: tuple[Citation, ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    is_notice: bool = False
    deltas: AsyncGenerator[ChatDelta, None] | None = None
    handoff: HandoffRequest | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step decided; fields as in `ServiceDecision`. With an answer, the path ends."""

    outcome: str
    answer: ServiceAnswer | None = None
    detail: str = ""
    score: float | None = None
    threshold: float | None = None
    classifier: str | None = None


@dataclass(slots=True)
class ServiceTurn:
    """The message that is answered, and what is known about it.

    Attributes:
        definition: the scenario.
        language: language of the answer.
        messages: the conversation as the model may see it, up to the message.
        request: the request.
        state: what is remembered of the conversation; steps change it.
        model: generates answers.
        classifier: predicts the intent.
        finder: finds passages; None if there are no documents.
        thresholds: when a score suffices.
        handoff: the newest hand-off of the conversation, if it ever had one.
        can_hand_off: whether the conversation is stored, so that a person can take over.
        rewrites_templates: let the model rewrite template answers.
        classifier_state: which classifier `classifier` is.
        safety_encoder: embeds messages for the classifier of safety lines; None without a model that fits.
        prediction: set by the step `intent`.
        intent: name of the intent that is certain enough; set by the step `intent`.
        kind: how to answer; set by the step `intent`, and changed by steps that cannot.
        failed: what the steps of this turn tried in vain.
    """

    definition: ScenarioDefinition
    language: str
    messages: tuple[Message, ...]
    request: ChatRequest
    state: ConversationState
    model: ChatService
    classifier: IntentPredictor
    finder: PassageFinder | None
    thresholds: Thresholds
    handoff: Handoff | None = None
    can_hand_off: bool = False
    rewrites_templates: bool = False
    classifier_state: ClassifierState = "fitted"
    safety_encoder: TextEncoder | None = None
    prediction: IntentPrediction | None = None
    intent: str | None = None
    kind: AnswerKind | None = None
    failed: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """The last message of the customer."""
        return self.messages[-1].content

    @property
    def customer_messages(self) -> list[str]:
        """The messages of the customer, the last one at the end."""
        return [message.content for message in self.messages if message.role == "user"]

    @property
    def is_handed_off(self) -> bool:
        """True while a hand-off is open."""
        return self.handoff is not None and self.handoff.is_open

    @property
    def default_language(self) -> str:
        """Language of texts that the scenario lacks in `language`."""
        return self.definition.settings.default_language

    @property
    def notices(self) -> dict[str, str]:
        """Sentences of hand-offs, with those of the scenario."""
        hand_off = self.definition.settings.messages.hand_off
        changes = {} if hand_off is None else {"open": localize(hand_off, self.language, self.default_language)}
        return handoff_notices(self.language, changes)

    def model_request(self, messages: tuple[Message, ...]) -> ChatRequest:
        """A request to the model for these messages, with the scenario's sampling, that stores nothing."""
        sampling = {**self.definition.settings.sampling, **self.request.sampling}
        request = replace(self.request, messages=messages, sampling=sampling)
        return replace(request, conversation_id=None, service=ServiceOptions())


class ServiceStep(Protocol):
    """A step of the path: a module with a name and this function."""

    NAME: str

    async def decide(self, turn: ServiceTurn) -> StepResult:
        """Decide about the message."""
