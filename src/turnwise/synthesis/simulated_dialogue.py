"""A dialogue that was held, how it ended, and what is needed of whoever holds one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatResponse
from turnwise.core.messages import Conversation

EndReason = Literal["turns", "goodbye", "loop", "empty", "cut", "context"]
END_REASONS: dict[EndReason, str] = {
    "turns": "as long as was drawn",
    "goodbye": "the user said goodbye",
    "loop": "a turn was said before",
    "empty": "a turn was empty",
    "cut": "a turn reached the token limit",
    "context": "the model's context was full",
}


class ChatModel(Protocol):
    """What is needed of a chat service."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def fingerprint(self) -> str:
        """Changes when its answers may."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Generation parameters it prefers."""

    async def reply(self, turn: ChatRequest) -> ChatResponse:
        """The answer to a turn."""


@dataclass(frozen=True, slots=True)
class SimulatedDialogue:
    """A dialogue that was held. `conversation` is None where it came to nothing: there was no reply worth keeping."""

    number: int
    ended: EndReason
    conversation: Conversation | None
