"""What the server sends: the published shapes of completions and models, and ours of conversations."""

from typing import Any, Literal

from pydantic import BaseModel

from turnwise.chat.service import ChatService, Usage
from turnwise.core.ports import FinishReason, StoredConversation


class PromptDetails(BaseModel):
    """Where the prompt's tokens came from."""

    cached_tokens: int


class UsageBody(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails

    @classmethod
    def of(cls, usage: Usage) -> "UsageBody":
        """The chat room's counts in the published shape."""
        return cls(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details=PromptDetails(cached_tokens=usage.cached_tokens),
        )


class AnswerMessage(BaseModel):
    """The assistant's message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[None] = []


class Choice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: None = None


class Head(BaseModel):
    """What a completion and all chunks of one share."""

    id: str
    created: int
    model: str
    service_tier: Literal["default"] = "default"
    system_fingerprint: str


class Completion(Head):
    """A whole answer."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[Choice]
    usage: UsageBody


class PieceDelta(BaseModel):
    """What a chunk adds; the first names the role."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class Piece(BaseModel):
    """A chunk's part of the one answer."""

    index: Literal[0] = 0
    delta: PieceDelta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class Chunk(Head):
    """A piece of an answer; the last one carries the usage where it was asked for."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[Piece]
    usage: UsageBody | None = None


class ModelBody(BaseModel):
    """A served model; `context_length` and `defaults` are ours."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "turnwise"
    context_length: int
    defaults: dict[str, Any]

    @classmethod
    def of(cls, name: str, service: ChatService) -> "ModelBody":
        """How a service is listed under a name."""
        return cls(
            id=name, created=service.created, context_length=service.context_length, defaults=dict(service.defaults)
        )


class MessageBody(BaseModel):
    """A message as it was kept."""

    id: str
    object: Literal["conversation.message"] = "conversation.message"
    created: float
    role: str
    content: str
    name: str | None
    meta: dict[str, Any]


class ConversationBody(BaseModel):
    """A conversation; `messages` is there only where one was asked for by id."""

    id: str
    object: Literal["conversation"] = "conversation"
    title: str
    model: str
    created: float
    updated: float
    messages: list[MessageBody] | None = None

    @classmethod
    def of(cls, kept: StoredConversation, *, messages: bool = False) -> "ConversationBody":
        """A stored conversation, with its messages or without."""
        body = cls(id=kept.id, title=kept.title, model=kept.model, created=kept.created, updated=kept.updated)
        if messages:
            body.messages = [
                MessageBody(id=m.id, created=m.created, meta=dict(m.meta), role=m.message.role,
                            content=m.message.content, name=m.message.name)
                for m in kept.messages
            ]  # fmt: skip
        return body
