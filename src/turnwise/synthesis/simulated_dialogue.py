"""A simulated dialogue, its end reasons, and the protocol of the models that take part."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatResponse
from turnwise.core.messages import Conversation

EndReason = Literal["max_exchanges", "goodbye", "repetition", "empty", "length", "context_length"]
END_REASONS: dict[EndReason, str] = {
    "max_exchanges": "number of exchanges reached",
    "goodbye": "the user said goodbye",
    "repetition": "a message was repeated",
    "empty": "a message was empty",
    "length": "a message reached the token limit",
    "context_length": "the context was full",
}


class ChatModel(Protocol):
    """The part of a chat service that a self-chat needs."""

    @property
    def name(self) -> str:
        """Served model name."""

    @property
    def fingerprint(self) -> str:
        """Changes with the weights and the decoding settings."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Generation parameters of the model."""

    async def reply(self, request: ChatRequest) -> ChatResponse:
        """Generate the complete response."""


@dataclass(frozen=True, slots=True)
class SimulatedDialogue:
    """A simulated dialogue.

    Attributes:
        number: number of the dialogue in the run, from 0.
        end_reason: why it ended.
        conversation: the dialogue, or None if it has no complete reply.
    """

    number: int
    end_reason: EndReason
    conversation: Conversation | None
