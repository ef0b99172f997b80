"""Reading the tool calls in the `messages` of a request, and what answers them."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message, ToolCall
from turnwise.server.errors import cut
from turnwise.server.format import read_object, wrong
from turnwise.server.tools import MOST_TOOLS, read_name

MOST_ID = 100  # characters

CALL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "type"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "maxLength": MOST_ID},
        "type": {"enum": ["function", "custom"]},
        "function": {
            "type": "object",
            "required": ["name", "arguments"],
            "properties": {"name": {"type": "string"}, "arguments": {"type": "string"}},
        },
        "custom": {
            "type": "object",
            "required": ["name", "input"],
            "properties": {"name": {"type": "string"}, "input": {"type": "string"}},
        },
    },
}


def read_calls(entry: Mapping[str, Any], where: str) -> tuple[ToolCall, ...]:
    """The calls of an assistant's message, in the published form or the older one. Raises `InvalidParameter`."""
    calls, older = entry.get("tool_calls"), entry.get("function_call")
    if calls and older:
        raise wrong(f"{where}.function_call", "is the older form of 'tool_calls'; send one of them")
    if older:
        name, arguments = _said(older, f"{where}.function_call", "arguments")
        return (ToolCall("call_function", name, arguments),)
    if not calls:
        return ()
    if not isinstance(calls, list) or len(calls) > MOST_TOOLS:
        raise wrong(f"{where}.tool_calls", f"must be a list of at most {MOST_TOOLS} calls")
    found = tuple(_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls))
    ids = [call.id for call in found]
    for i, id in enumerate(ids):
        if id in ids[:i]:
            raise wrong(f"{where}.tool_calls[{i}].id", f"is that of another call: {cut(repr(id))}")
    return found


def read_call_id(said: Any, where: str) -> str:
    """The id of a call. Raises `InvalidParameter`."""
    if said is None:
        raise InvalidParameter(where, f"'{where}' is required.", code="missing_required_parameter")
    if not isinstance(said, str) or not 1 <= len(said) <= MOST_ID:
        raise wrong(where, f"must be a string of 1 to {MOST_ID} characters")
    return said


class OpenCalls:
    """Which calls wait for their answer, from message to message."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, str]] = {}  # by id: the tool's name and the call's place

    def id_for(self, name: str, where: str) -> str:
        """The call that a message of the older role `function` answers: it has the tool's name only."""
        for id, (called, _) in self._open.items():
            if called == name:
                return id
        raise wrong(where, f"answers no call of the message before: none of '{cut(name)}' waits for an answer")

    def follow(self, message: Message, where: str) -> None:
        """Take the next message. Raises `InvalidParameter` where it answers nothing, or comes before an answer."""
        if message.role == "tool":
            id = message.tool_call_id or ""
            if self._open.pop(id, None) is None:
                raise wrong(f"{where}.tool_call_id", f"answers no call of the assistant's message before: {cut(id)!r}")
            return
        self.end()
        self._open = {call.id: (call.name, f"{where}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls)}

    def end(self) -> None:
        """Nothing more answers. Raises `InvalidParameter` naming the first call that nothing did."""
        for id, (_, place) in self._open.items():
            raise wrong(place, f"is not answered: a message with the role 'tool' and this tool_call_id must follow it: "
                               f"{cut(id)!r}")  # fmt: skip


def _call(said: Any, where: str) -> ToolCall:
    if not isinstance(said, dict):
        raise wrong(where, "must be an object")
    id = read_call_id(said.get("id"), f"{where}.id")
    kind = said.get("type")
    if kind not in ("function", "custom"):
        raise wrong(f"{where}.type", f"must be function or custom, not {cut(repr(kind))}")
    inner = read_object(said, where, {"id", "type", kind}).get(kind)
    name, arguments = _said(inner, f"{where}.{kind}", "arguments" if kind == "function" else "input")
    return ToolCall(id, name, arguments, kind)


def _said(said: Any, where: str, key: str) -> tuple[str, str]:
    # The official client's `parse` adds what it made of the arguments, and sends it back with them.
    parsed = "parsed_arguments"
    inner = read_object(said, where, {"name", key, parsed} if key == "arguments" else {"name", key})
    if not isinstance(inner.get(key), str):
        raise wrong(f"{where}.{key}", "must be a string")
    name = read_name(inner.get("name"), f"{where}.name")
    if inner.get(parsed) is not None and inner[parsed] != ToolCall("", name, inner[key]).values:
        raise wrong(f"{where}.{parsed}", f"is not what '{key}' says")
    return name, inner[key]
