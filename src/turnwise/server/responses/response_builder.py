"""Builds a response from deltas: output items, and the published events in their published order."""

import time
from collections.abc import Iterable
from typing import Any

from turnwise.core.chat_response import ChatDelta
from turnwise.core.errors import TurnwiseError
from turnwise.core.inference import FinishReason
from turnwise.core.tools import ToolCallDelta
from turnwise.server.responses.output_items import (
    CustomToolCallItem,
    FunctionCallItem,
    ItemStatus,
    MessageItem,
    OutputItem,
    OutputText,
    ResponseLogprob,
)
from turnwise.server.responses.response_object import (
    IncompleteDetails,
    ResponseBody,
    ResponseErrorBody,
    ResponseUsageBody,
)
from turnwise.server.schema.response_extensions import collect_extensions

ResponseEvent = dict[str, Any]  # without the sequence number, which `EventEncoder` adds


class ResponseBuilder:
    """Builds one response. For responses that are not streamed, the events are not sent."""

    def __init__(self, response: ResponseBody) -> None:
        """Add output to `response`."""
        self.response = response
        self._item: OutputItem | None = None  # the open item

    def start_events(self) -> list[ResponseEvent]:
        """Return the events before the first delta."""
        return [_event(f"response.{name}", response=self.response.dump()) for name in ("created", "in_progress")]

    def add(self, delta: ChatDelta) -> list[ResponseEvent]:
        """Return the events of a delta. The last delta completes the response."""
        events: list[ResponseEvent] = []
        if delta.text or delta.logprobs:
            events += self._add_text(delta.text, [ResponseLogprob.of_position(position) for position in delta.logprobs])
        for call in delta.tool_calls:
            events += self._add_call(call)
        if delta.finish_reason is not None:
            events += self._end(delta.finish_reason)
        if delta.usage is not None:
            self.response.usage = ResponseUsageBody.of(delta.usage)
            self.response = self.response.with_extensions(collect_extensions(delta))
            events.append(_event(f"response.{self.response.status}", response=self.response.dump()))
        return events

    @property
    def is_complete(self) -> bool:
        """Whether the last delta has been added."""
        return self.response.usage is not None

    def fail(self, error: TurnwiseError) -> list[ResponseEvent]:
        """Return the events that end a failed response."""
        self.response.status, self.response.completed_at = "failed", None
        self.response.error = ResponseErrorBody.of(error)
        if self._item is not None:
            self._item.status = "incomplete"
        return [_event("response.failed", response=self.response.dump())]

    def _add_text(self, text: str, logprobs: list[ResponseLogprob]) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        if not isinstance(self._item, MessageItem):
            events += self._close("completed") + self._open(MessageItem(id=self._new_id("msg")))
            events.append(
                self._item_event("response.content_part.added", content_index=0, part=OutputText().model_dump())
            )
            self._message().content.append(OutputText())
        content_part = self._message().content[0]
        content_part.text += text
        content_part.logprobs += logprobs
        content = _dump(logprobs)
        return [*events, self._item_event("response.output_text.delta", content_index=0, delta=text, logprobs=content)]

    def _add_call(self, call: ToolCallDelta) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        if call.name is not None:
            events += self._close("completed") + self._open(self._new_call(call))
        if not call.arguments:
            return events
        if isinstance(self._item, CustomToolCallItem):
            self._item.input += call.arguments
            return [*events, self._item_event("response.custom_tool_call_input.delta", delta=call.arguments)]
        assert isinstance(self._item, FunctionCallItem)
        self._item.arguments += call.arguments
        return [*events, self._item_event("response.function_call_arguments.delta", delta=call.arguments)]

    def _end(self, finish_reason: FinishReason) -> list[ResponseEvent]:
        """Close the last item and set the status. An answer without text and calls is an empty message."""
        events = [] if self.response.output else self._add_text("", [])
        if finish_reason == "length":
            self.response.status, self.response.incomplete_details = "incomplete", IncompleteDetails()
            return events + self._close("incomplete")
        self.response.status, self.response.completed_at = "completed", int(time.time())
        return events + self._close("completed")

    def _open(self, item: OutputItem) -> list[ResponseEvent]:
        self._item = item
        self.response.output.append(item)
        return [_event("response.output_item.added", output_index=self._index, item=item.model_dump())]

    def _close(self, status: ItemStatus) -> list[ResponseEvent]:
        item = self._item
        if item is None:
            return []
        item.status = status
        events = []
        if isinstance(item, MessageItem):
            content_part = item.content[0]
            events = [
                self._item_event(
                    "response.output_text.done",
                    content_index=0,
                    text=content_part.text,
                    logprobs=_dump(content_part.logprobs),
                ),
                self._item_event("response.content_part.done", content_index=0, part=content_part.model_dump()),
            ]
        elif isinstance(item, CustomToolCallItem):
            events = [self._item_event("response.custom_tool_call_input.done", input=item.input)]
        else:
            events = [
                self._item_event("response.function_call_arguments.done", arguments=item.arguments, name=item.name)
            ]
        events.append(_event("response.output_item.done", output_index=self._index, item=item.model_dump()))
        self._item = None
        return events

    def _new_call(self, call: ToolCallDelta) -> FunctionCallItem | CustomToolCallItem:
        call_id, name = call.id or "", call.name or ""
        if call.kind == "custom":
            return CustomToolCallItem(id=self._new_id("ctc"), call_id=call_id, name=name)
        return FunctionCallItem(id=self._new_id("fc"), call_id=call_id, name=name)

    def _new_id(self, prefix: str) -> str:
        return item_id(prefix, self.response.id, str(len(self.response.output)))

    def _message(self) -> MessageItem:
        assert isinstance(self._item, MessageItem)
        return self._item

    @property
    def _index(self) -> int:
        return len(self.response.output) - 1

    def _item_event(self, type: str, **fields: Any) -> ResponseEvent:
        """An event of the open item."""
        assert self._item is not None
        return _event(type, item_id=self._item.id, output_index=self._index, **fields)


def _event(type: str, **fields: Any) -> ResponseEvent:
    return {"type": type, **fields}


def item_id(prefix: str, response_id: str, suffix: str) -> str:
    """Return the id of an item. It contains the id of the response, so that a reference to the item finds it."""
    return f"{prefix}_{response_id.removeprefix('resp_')}_{suffix}"


def _dump(logprobs: Iterable[ResponseLogprob]) -> list[dict[str, Any]]:
    return [logprob.model_dump() for logprob in logprobs]
