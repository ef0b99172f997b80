"""What the server sends: the published shapes of completions and models, and ours of conversations."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from turnwise.chat.service import ChatChoice, ChatResponse, ChatService, DecodedLogprobs, DecodedToken, Usage
from turnwise.core.ports import StoredConversation, StoredMessage
from turnwise.core.sampling_presets import apply_sampling_preset
from turnwise.core.tools import ToolCallDelta
from turnwise.server.schema.context_fields import ContextBody, with_context
from turnwise.server.schema.response_tool_calls import (
    FunctionCallBody,
    PublishedFinishReason,
    ToolCallBody,
    published_finish_reason,
)


class PromptTokensDetails(BaseModel):
    """Where the prompt's tokens came from."""

    cached_tokens: int


class CompletionTokensDetails(BaseModel):
    """Tokens of the prediction that were said, and those that were tried and were not."""

    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class UsageBody(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails

    @classmethod
    def of(cls, usage: Usage) -> "UsageBody":
        """The chat room's counts in the published shape."""
        return cls(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
            completion_tokens_details=CompletionTokensDetails(
                accepted_prediction_tokens=usage.accepted_prediction_tokens,
                rejected_prediction_tokens=usage.rejected_prediction_tokens,
            ),
        )


class ChatTopLogprob(BaseModel):
    """A token with its log-probability; `bytes`, because it may be a part of a character. A special token has none."""

    token: str
    logprob: float
    bytes: list[int] | None

    @classmethod
    def of(cls, likely: DecodedToken) -> "ChatTopLogprob":
        """The chat room's in the published shape."""
        return cls(token=likely.text, logprob=likely.logprob, bytes=list(likely.bytes) or None)


class ChatTokenLogprob(ChatTopLogprob):
    """The token that was chosen, and the likeliest ones in its place."""

    top_logprobs: list[ChatTopLogprob]


class ChoiceLogprobs(BaseModel):
    """Log-probabilities of an answer's tokens, or of a piece's."""

    content: list[ChatTokenLogprob]
    refusal: None = None

    @classmethod
    def of(cls, reports: Sequence[DecodedLogprobs]) -> "ChoiceLogprobs | None":
        """The chat room's reports in the published shape; None where there are none."""
        content = [
            ChatTokenLogprob(
                **ChatTopLogprob.of(one.token).model_dump(), top_logprobs=[ChatTopLogprob.of(top) for top in one.top]
            )
            for one in reports
        ]
        return cls(content=content) if content else None


class ChatCompletionMessage(BaseModel):
    """The assistant's message; `content` is null where it only calls. What is null of the calls is left out."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    annotations: list[None] = []
    tool_calls: list[ToolCallBody] | None = None
    function_call: FunctionCallBody | None = None

    @classmethod
    def of(cls, answer: ChatChoice, *, legacy: bool = False) -> "ChatCompletionMessage":
        """The chat room's answer; with `legacy`, its call in the older form."""
        said = cls(content=answer.text or (None if answer.tool_calls else ""))
        if answer.tool_calls and legacy:
            said.function_call = ToolCallBody.of(answer.tool_calls[0]).function
        elif answer.tool_calls:
            said.tool_calls = [ToolCallBody.of(call) for call in answer.tool_calls]
        return said


class ChatCompletionChoice(BaseModel):
    """One answer."""

    index: int
    message: ChatCompletionMessage
    finish_reason: PublishedFinishReason
    logprobs: ChoiceLogprobs | None = None

    @classmethod
    def of(cls, index: int, answer: ChatChoice, *, legacy: bool = False) -> "ChatCompletionChoice":
        """The chat room's answer in the published shape."""
        return cls(
            index=index,
            message=ChatCompletionMessage.of(answer, legacy=legacy),
            finish_reason=published_finish_reason(answer.finish_reason, legacy=legacy) or "stop",
            logprobs=ChoiceLogprobs.of(answer.logprobs),
        )

    def dump(self) -> dict[str, Any]:
        """As JSON: of calls, only what there is."""
        dumped = self.model_dump()
        for name in ("tool_calls", "function_call"):
            if dumped["message"][name] is None:
                del dumped["message"][name]
        if self.message.tool_calls is not None:
            calls = [call.model_dump(exclude_none=True) for call in self.message.tool_calls]
            dumped["message"]["tool_calls"] = calls
        return dumped


class ChatCompletionHeader(BaseModel):
    """What a completion and all chunks of one share."""

    id: str
    created: int
    model: str
    service_tier: Literal["default"] = "default"
    system_fingerprint: str
    metadata: dict[str, str] | None = None


class ChatCompletion(ChatCompletionHeader):
    """A whole answer. `context` is ours, and there only where a context policy did something."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatCompletionChoice]
    usage: UsageBody
    context: ContextBody | None = None

    @classmethod
    def of(cls, head: ChatCompletionHeader, reply: ChatResponse, *, legacy: bool) -> "ChatCompletion":
        """The chat room's reply in the published shape."""
        choices = [ChatCompletionChoice.of(index, answer, legacy=legacy) for index, answer in enumerate(reply.choices)]
        usage, context = UsageBody.of(reply.usage), ContextBody.of(reply.context)
        return cls(**head.model_dump(), choices=choices, usage=usage, context=context)

    def dump(self) -> dict[str, Any]:
        """As JSON: of calls and of the context, only what there is."""
        dumped = self.model_dump() | {"choices": [choice.dump() for choice in self.choices]}
        return with_context(dumped, self.context)


class ChoiceDelta(BaseModel):
    """What a chunk adds; the first names the role."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[ToolCallBody] | None = None
    function_call: FunctionCallBody | None = None

    @classmethod
    def from_tool_call(cls, piece: ToolCallDelta, *, legacy: bool) -> "ChoiceDelta":
        """A piece of a call; with `legacy`, in the older form."""
        body = ToolCallBody.of(piece)
        return cls(function_call=body.function) if legacy else cls(tool_calls=[body])


class ChunkChoice(BaseModel):
    """A chunk's part of one answer."""

    index: int = 0
    delta: ChoiceDelta
    finish_reason: PublishedFinishReason | None = None
    logprobs: ChoiceLogprobs | None = None


class ChatCompletionChunk(ChatCompletionHeader):
    """A piece of an answer; the last one carries the usage where it was asked for, and our `context`."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChunkChoice]
    usage: UsageBody | None = None
    context: ContextBody | None = None


class ModelBody(BaseModel):
    """A served model. Ours are `context_length`, `defaults` (the model's own parameters) and `chat_defaults`.

    `chat_defaults` are the values that `"sampling_preset": "chat"` uses where the request sets none.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "turnwise"
    context_length: int
    defaults: dict[str, Any]
    chat_defaults: dict[str, Any]

    @classmethod
    def of(cls, name: str, service: ChatService) -> "ModelBody":
        """How a service is listed under a name."""
        return cls(
            id=name,
            created=service.created,
            context_length=service.context_length,
            defaults=dict(service.defaults),
            chat_defaults=apply_sampling_preset("chat", service.defaults),
        )


class MessageBody(BaseModel):
    """A stored message. `sibling_ids` are the messages with the same parent, this one included, oldest first."""

    id: str
    object: Literal["conversation.message"] = "conversation.message"
    created: float
    parent_id: str | None
    sibling_ids: list[str]
    role: str
    content: str
    name: str | None
    tool_calls: list[ToolCallBody] | None = None
    tool_call_id: str | None = None
    pinned: bool
    meta: dict[str, Any]

    @classmethod
    def of(cls, stored: StoredMessage) -> "MessageBody":
        """A message of the store."""
        message = stored.message
        return cls(
            id=stored.id, created=stored.created, parent_id=stored.parent_id, sibling_ids=list(stored.sibling_ids),
            role=message.role, content=message.content, name=message.name, tool_call_id=message.tool_call_id,
            tool_calls=[ToolCallBody.of(call) for call in message.tool_calls] or None, pinned=message.pinned,
            meta=dict(stored.meta),
        )  # fmt: skip


class ConversationBody(BaseModel):
    """A conversation as it is listed."""

    id: str
    object: Literal["conversation"] = "conversation"
    title: str
    model: str
    created: float
    updated: float

    @classmethod
    def of(cls, stored: StoredConversation) -> "ConversationBody":
        """A conversation of the store, without its messages."""
        return cls(id=stored.id, title=stored.title, model=stored.model, created=stored.created, updated=stored.updated)


class ConversationWithMessages(ConversationBody):
    """A conversation with the branch that is shown, from the first message to the `head`; `tree` on request."""

    head: str | None
    messages: list[MessageBody]
    tree: list[MessageBody] | None = None

    @classmethod
    def of(cls, stored: StoredConversation, *, tree: bool = False) -> "ConversationWithMessages":
        """A conversation of the store; with `tree`, all messages of all branches too."""
        return cls(
            **ConversationBody.of(stored).model_dump(),
            head=stored.head,
            messages=[MessageBody.of(message) for message in stored.messages],
            tree=[MessageBody.of(message) for message in stored.tree] if tree else None,
        )
