"""Output items of a response: messages and tool calls."""

from typing import Literal

from pydantic import BaseModel

from turnwise.core.chat_response import DecodedLogprobs, DecodedToken

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class ResponseTopLogprob(BaseModel):
    """A token with its log-probability. The bytes may be a part of a character; special tokens have none."""

    token: str
    bytes: list[int]
    logprob: float

    @classmethod
    def of(cls, token: DecodedToken) -> "ResponseTopLogprob":
        """Convert a token of the chat service."""
        return cls(token=token.text, bytes=list(token.bytes), logprob=token.logprob)


class ResponseLogprob(ResponseTopLogprob):
    """The sampled token, and the most likely tokens at its position."""

    top_logprobs: list[ResponseTopLogprob]

    @classmethod
    def of_position(cls, position: DecodedLogprobs) -> "ResponseLogprob":
        """Convert the log-probabilities of one position."""
        sampled = ResponseTopLogprob.of(position.token)
        return cls(**sampled.model_dump(), top_logprobs=[ResponseTopLogprob.of(token) for token in position.top])


class OutputText(BaseModel):
    """The text of a message."""

    type: Literal["output_text"] = "output_text"
    text: str = ""
    annotations: list[None] = []
    logprobs: list[ResponseLogprob] = []


class MessageItem(BaseModel):
    """A message of the assistant."""

    type: Literal["message"] = "message"
    id: str
    status: ItemStatus = "in_progress"
    role: Literal["assistant"] = "assistant"
    content: list[OutputText] = []


class FunctionCallItem(BaseModel):
    """A function call; `arguments` is JSON."""

    type: Literal["function_call"] = "function_call"
    id: str
    status: ItemStatus = "in_progress"
    call_id: str
    name: str
    arguments: str = ""


class CustomToolCallItem(BaseModel):
    """A call of a custom tool; `input` is free text."""

    type: Literal["custom_tool_call"] = "custom_tool_call"
    id: str
    status: ItemStatus = "in_progress"
    call_id: str
    name: str
    input: str = ""


OutputItem = MessageItem | FunctionCallItem | CustomToolCallItem
