"""Responses and stream chunks of `POST /v1/chat/completions`."""

from typing import Any, Literal

from pydantic import BaseModel

from turnwise.core.chat_response import ChatChoice, ChatResponse
from turnwise.core.tools import ToolCallDelta
from turnwise.server.schema.chat_logprobs import ChoiceLogprobs
from turnwise.server.schema.response_extensions import ResponseExtensions, collect_extensions
from turnwise.server.schema.response_tool_calls import (
    FunctionCallBody,
    PublishedFinishReason,
    ToolCallBody,
    published_finish_reason,
)
from turnwise.server.schema.usage import UsageBody


class ChatCompletionMessage(BaseModel):
    """The assistant's message. `content` is null if it has only tool calls; absent calls are not sent."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    annotations: list[None] = []
    tool_calls: list[ToolCallBody] | None = None
    function_call: FunctionCallBody | None = None

    @classmethod
    def of(cls, choice: ChatChoice, *, legacy: bool = False) -> "ChatCompletionMessage":
        """Convert a choice of the chat service; with `legacy`, its call is a `function_call`."""
        message = cls(content=choice.text or (None if choice.tool_calls else ""))
        if choice.tool_calls and legacy:
            message.function_call = ToolCallBody.of(choice.tool_calls[0]).function
        elif choice.tool_calls:
            message.tool_calls = [ToolCallBody.of(call) for call in choice.tool_calls]
        return message


class ChatCompletionChoice(BaseModel):
    """One of the `n` answers."""

    index: int
    message: ChatCompletionMessage
    finish_reason: PublishedFinishReason
    logprobs: ChoiceLogprobs | None = None

    @classmethod
    def of(cls, index: int, choice: ChatChoice, *, legacy: bool = False) -> "ChatCompletionChoice":
        """Convert a choice of the chat service."""
        return cls(
            index=index,
            message=ChatCompletionMessage.of(choice, legacy=legacy),
            finish_reason=published_finish_reason(choice.finish_reason, legacy=legacy) or "stop",
            logprobs=ChoiceLogprobs.of(choice.logprobs),
        )

    def dump(self) -> dict[str, Any]:
        """Return JSON without absent calls."""
        content = self.model_dump()
        for name in ("tool_calls", "function_call"):
            if content["message"][name] is None:
                del content["message"][name]
        if self.message.tool_calls is not None:
            calls = [call.model_dump(exclude_none=True) for call in self.message.tool_calls]
            content["message"]["tool_calls"] = calls
        return content


class ChatCompletionHeader(BaseModel):
    """Fields that a completion and all of its chunks share."""

    id: str
    created: int
    model: str
    service_tier: Literal["default"] = "default"
    system_fingerprint: str
    metadata: dict[str, str] | None = None


class _PublishedChatCompletion(ChatCompletionHeader):
    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatCompletionChoice]
    usage: UsageBody


class ChatCompletion(ResponseExtensions, _PublishedChatCompletion):
    """A chat completion."""

    @classmethod
    def of(cls, header: ChatCompletionHeader, response: ChatResponse, *, legacy: bool) -> "ChatCompletion":
        """Convert a response of the chat service."""
        choices = [ChatCompletionChoice.of(i, choice, legacy=legacy) for i, choice in enumerate(response.choices)]
        usage, extensions = UsageBody.of(response.usage), collect_extensions(response)
        return cls(**header.model_dump(), choices=choices, usage=usage, **dict(extensions))

    def dump(self) -> dict[str, Any]:
        """Return JSON without absent calls and extensions."""
        return super().dump() | {"choices": [choice.dump() for choice in self.choices]}


class ChoiceDelta(BaseModel):
    """What a chunk adds to a message; the first delta has the role."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[ToolCallBody] | None = None
    function_call: FunctionCallBody | None = None

    @classmethod
    def from_tool_call(cls, delta: ToolCallDelta, *, legacy: bool) -> "ChoiceDelta":
        """Convert a delta of a tool call; with `legacy`, to a `function_call`."""
        body = ToolCallBody.of(delta)
        return cls(function_call=body.function) if legacy else cls(tool_calls=[body])


class ChunkChoice(BaseModel):
    """A chunk of one choice."""

    index: int = 0
    delta: ChoiceDelta
    finish_reason: PublishedFinishReason | None = None
    logprobs: ChoiceLogprobs | None = None


class _PublishedChunk(ChatCompletionHeader):
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChunkChoice]
    usage: UsageBody | None = None


class ChatCompletionChunk(ResponseExtensions, _PublishedChunk):
    """A stream chunk. The last one has the extensions, and `usage` if `include_usage` is set."""

    def dump(self) -> dict[str, Any]:
        """Return JSON without absent extensions, and without absent fields of the deltas."""
        deltas = [choice.delta.model_dump(exclude_none=True) for choice in self.choices]
        content = super().dump()
        for choice, delta in zip(content["choices"], deltas, strict=True):
            choice["delta"] = delta
        return content
