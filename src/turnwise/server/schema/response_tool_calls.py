"""How calls of tools are sent, whole and in pieces, and how an answer that calls ends."""

from typing import Literal

from pydantic import BaseModel

from turnwise.core.messages import ToolCall
from turnwise.core.ports import FinishReason
from turnwise.core.tools import ToolCallDelta


class FunctionCallBody(BaseModel):
    """A function that is called, or a piece of it."""

    name: str | None = None
    arguments: str


class CustomToolCallBody(BaseModel):
    """A custom tool that is called, or a piece of it."""

    name: str | None = None
    input: str


class ToolCallBody(BaseModel):
    """A call of a tool; in a stream `index` says which one a piece belongs to, and only the first names it."""

    index: int | None = None
    id: str | None = None
    type: Literal["function", "custom"] | None = None
    function: FunctionCallBody | None = None
    custom: CustomToolCallBody | None = None

    @classmethod
    def of(cls, call: ToolCall | ToolCallDelta) -> "ToolCallBody":
        """The chat room's call, or piece of one, in the published shape."""
        piece = isinstance(call, ToolCallDelta)
        index = call.index if isinstance(call, ToolCallDelta) else None
        kind = None if piece and call.name is None else call.kind
        if call.kind == "custom":
            return cls(
                index=index, id=call.id, type=kind, custom=CustomToolCallBody(name=call.name, input=call.arguments)
            )
        function = FunctionCallBody(name=call.name, arguments=call.arguments)
        return cls(index=index, id=call.id, type=kind, function=function)


# The published words, among them the older one for a call.
PublishedFinishReason = FinishReason | Literal["function_call"]


def published_finish_reason(finish: FinishReason | None, *, legacy: bool) -> PublishedFinishReason | None:
    """How the answer ended, in the words of the interface that was asked."""
    return "function_call" if legacy and finish == "tool_calls" else finish
