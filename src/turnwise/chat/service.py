"""One turn of talk (placeholder of the contract; the chat room replaces this file)."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.messages import Message
from turnwise.core.ports import ConversationStore, FinishReason


@dataclass(frozen=True, slots=True)
class Turn:
    """One request for the next message."""

    messages: tuple[Message, ...]
    asked: Mapping[str, Any] = field(default_factory=dict)
    conversation_id: str | None = None
    continue_final: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer; `finish` and `usage` come with the last one."""

    text: str = ""
    finish: FinishReason | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    text: str
    finish: FinishReason
    usage: Usage


class ChatService:
    """A served model."""

    name: str
    created: int
    fingerprint: str
    context_length: int
    defaults: Mapping[str, Any]
    store: ConversationStore | None

    def stream(self, turn: Turn) -> AsyncGenerator[Delta, None]:
        """The answer, piece by piece."""
        raise NotImplementedError

    async def reply(self, turn: Turn) -> Reply:
        """The answer, whole."""
        raise NotImplementedError
