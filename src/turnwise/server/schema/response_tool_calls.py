"""Tool calls in responses and stream chunks."""

from typing import Literal

from pydantic import BaseModel

from turnwise.core.inference import FinishReason
from turnwise.core.messages import ToolCall
from turnwise.core.tools import ToolCallDelta

PublishedFinishReason = FinishReason | Literal["function_call"]


class FunctionCallBody(BaseModel):
    """A function call, or a delta of one."""

    name: str | None = None
    arguments: str


class CustomToolCallBody(BaseModel):
    """A call of a custom tool, or a delta of one."""

    name: str | None = None
    input: str


class ToolCallBody(BaseModel):
    """A tool call, or a delta of one. Deltas have an `index`; only the first delta of a call has `id`, `type`, name."""

    index: int | None = None
    id: str | None = None
    type: Literal["function", "custom"] | None = None
    function: FunctionCallBody | None = None
    custom: CustomToolCallBody | None = None

    @classmethod
    def of(cls, call: ToolCall | ToolCallDelta) -> "ToolCallBody":
        """Convert a call, or a delta of one, of the chat service."""
        is_delta = isinstance(call, ToolCallDelta)
        index = call.index if isinstance(call, ToolCallDelta) else None
        tool_type = None if is_delta and call.name is None else call.kind
        if call.kind == "custom":
            custom = CustomToolCallBody(name=call.name, input=call.arguments)
            return cls(index=index, id=call.id, type=tool_type, custom=custom)
        function = FunctionCallBody(name=call.name, arguments=call.arguments)
        return cls(index=index, id=call.id, type=tool_type, function=function)


def published_finish_reason(finish_reason: FinishReason | None, *, legacy: bool) -> PublishedFinishReason | None:
    """Return the finish reason to send; with `legacy`, the older word for a call."""
    return "function_call" if legacy and finish_reason == "tool_calls" else finish_reason
