"""Converts items of earlier responses and of the input to messages."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from turnwise.core.messages import Message, Role, ToolCall, ToolKind
from turnwise.server.error_responses import truncate
from turnwise.server.responses.input_items import InputItem
from turnwise.server.schema.json_object import invalid_field

_CALLS: Mapping[str, tuple[ToolKind, str]] = {
    "function_call": ("function", "arguments"),
    "custom_tool_call": ("custom", "input"),
}
_OUTPUTS: Mapping[str, ToolKind] = {"function_call_output": "function", "custom_tool_call_output": "custom"}


def to_messages(items: Iterable[InputItem]) -> tuple[Message, ...]:
    """Return the messages of items. A text of the assistant and the calls after it become one message.

    Raises `InvalidParameter` if a call has no output before the next message, or an output has no call.
    """
    builder = _MessageBuilder()
    for item in items:
        builder.add(item)
    builder.finish_message()
    return tuple(builder.messages)


class _MessageBuilder:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._texts: list[str] = []  # of the unfinished message of the assistant, as are the calls
        self._calls: list[ToolCall] = []
        self._unanswered: dict[str, tuple[ToolKind, str]] = {}  # by call id: type and path of the call

    def add(self, item: InputItem) -> None:
        body, item_type = item.body, str(item.body["type"])
        if item_type in _CALLS:
            self._add_call(body, item_type, item.path)
        elif item_type in _OUTPUTS:
            self._add_output(body, item_type, item.path)
        elif item_type == "message" and body["role"] == "assistant":
            if not self._calls:
                self.finish_message()
            self._texts.append(_text(body["content"]))
        elif item_type == "message":
            self.finish_message()
            self.messages.append(Message(cast("Role", body["role"]), _text(body["content"])))

    def finish_message(self) -> None:
        """Finish the message of the assistant. Raises `InvalidParameter` if a call has no output."""
        self._flush()
        for id, (tool_type, path) in self._unanswered.items():
            name = "function_call_output" if tool_type == "function" else "custom_tool_call_output"
            problem = f"has the tool call {truncate(repr(id))} without its output"
            raise invalid_field(path, f"{problem}: an item of the type {name} with this call_id must follow it")

    def _flush(self) -> None:
        if self._texts or self._calls:
            self.messages.append(Message("assistant", "\n".join(self._texts), tool_calls=tuple(self._calls)))
            self._texts, self._calls = [], []

    def _add_call(self, body: Mapping[str, Any], item_type: str, path: str) -> None:
        if not self._texts and not self._calls:
            self.finish_message()
        tool_type, arguments_key = _CALLS[item_type]
        id = body["call_id"]
        if id in self._unanswered:
            raise invalid_field(f"{path}.call_id", f"is the id of another call: {truncate(repr(id))}")
        self._calls.append(ToolCall(id, body["name"], body[arguments_key], tool_type))
        self._unanswered[id] = (tool_type, path)

    def _add_output(self, body: Mapping[str, Any], item_type: str, path: str) -> None:
        self._flush()
        id, output = body["call_id"], body["output"]
        tool_type, _ = self._unanswered.pop(id, (None, ""))
        if tool_type != _OUTPUTS[item_type]:
            raise invalid_field(
                f"{path}.call_id", f"answers no {_OUTPUTS[item_type]} call before it: {truncate(repr(id))}"
            )
        text = output if isinstance(output, str) else _text(output)
        self.messages.append(Message("tool", text, tool_call_id=id))


def _text(parts: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(
        content_part["refusal"] if content_part["type"] == "refusal" else content_part["text"] for content_part in parts
    )
