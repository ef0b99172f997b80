"""Items of earlier responses and of the input as the messages of one conversation."""

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
    """The messages that these items describe. An assistant's text and the calls after it are one message.

    Raises `InvalidParameter` where a call has no output before the next message, or an output no call.
    """
    conversation = _Conversation()
    for item in items:
        conversation.add(item)
    conversation.end()
    return tuple(conversation.messages)


class _Conversation:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._texts: list[str] = []  # of the assistant's message that is being put together
        self._calls: list[ToolCall] = []
        self._unanswered: dict[str, tuple[ToolKind, str]] = {}  # by call id: kind and path of the call

    def add(self, item: InputItem) -> None:
        body, kind = item.body, str(item.body["type"])
        if kind in _CALLS:
            self._add_call(body, kind, item.path)
        elif kind in _OUTPUTS:
            self._add_output(body, kind, item.path)
        elif kind == "message" and body["role"] == "assistant":
            if not self._calls:
                self.end()
            self._texts.append(_text(body["content"]))
        elif kind == "message":
            self.end()
            self.messages.append(Message(cast("Role", body["role"]), _text(body["content"])))

    def end(self) -> None:
        """Finish the assistant's message; every call must have its output."""
        self._flush()
        for id, (kind, path) in self._unanswered.items():
            name = "function_call_output" if kind == "function" else "custom_tool_call_output"
            problem = f"holds the tool call {truncate(repr(id))} without its output"
            raise invalid_field(path, f"{problem}: an item of the type {name} with this call_id must follow it")

    def _flush(self) -> None:
        if self._texts or self._calls:
            self.messages.append(Message("assistant", "\n".join(self._texts), tool_calls=tuple(self._calls)))
            self._texts, self._calls = [], []

    def _add_call(self, body: Mapping[str, Any], kind: str, path: str) -> None:
        if not self._texts and not self._calls:
            self.end()
        call_kind, written = _CALLS[kind]
        id = body["call_id"]
        if id in self._unanswered:
            raise invalid_field(f"{path}.call_id", f"is that of another call: {truncate(repr(id))}")
        self._calls.append(ToolCall(id, body["name"], body[written], call_kind))
        self._unanswered[id] = (call_kind, path)

    def _add_output(self, body: Mapping[str, Any], kind: str, path: str) -> None:
        self._flush()
        id, output = body["call_id"], body["output"]
        called, _ = self._unanswered.pop(id, (None, ""))
        if called != _OUTPUTS[kind]:
            raise invalid_field(f"{path}.call_id", f"answers no {_OUTPUTS[kind]} call before it: {truncate(repr(id))}")
        text = output if isinstance(output, str) else _text(output)
        self.messages.append(Message("tool", text, tool_call_id=id))


def _text(parts: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(part["refusal"] if part["type"] == "refusal" else part["text"] for part in parts)
