"""Reading the tool calls in the `messages` of a request, and what answers them."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message, ToolCall
from turnwise.server.error_responses import cut
from turnwise.server.schema.json_object import read_object, wrong
from turnwise.server.schema.tool_definitions import read_name

MAX_ID = 1000  # characters; gateways join several ids to one

CALL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "type"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "maxLength": MAX_ID},
        "type": {"enum": ["function", "custom"]},
        "index": {"type": "integer", "description": "Has no effect: the number of a streamed call, sent back."},
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


def read_calls(fields: Mapping[str, Any], path: str) -> tuple[ToolCall, ...]:
    """The calls of an assistant's message, in the published form or the older one. Raises `InvalidParameter`."""
    calls, older = fields.get("tool_calls"), fields.get("function_call")
    if is_blank(older):
        older = None
    if calls and older:
        raise wrong(f"{path}.function_call", "is the older form of 'tool_calls'; send one of them")
    if older:
        name, arguments = _read_call(older, f"{path}.function_call", "arguments")
        return (ToolCall("call_function", name, arguments),)
    if not calls:
        return ()
    if not isinstance(calls, list):
        raise wrong(f"{path}.tool_calls", "must be a list of calls")
    read = tuple(_call(call, f"{path}.tool_calls[{i}]") for i, call in enumerate(calls))
    ids: set[str] = set()
    for i, call in enumerate(read):
        if call.id in ids:
            raise wrong(f"{path}.tool_calls[{i}].id", f"is that of another call: {cut(repr(call.id))}")
        ids.add(call.id)
    return read


def read_call_id(said: Any, where: str) -> str:
    """The id of a call. Raises `InvalidParameter`."""
    if said is None:
        raise InvalidParameter(where, f"'{where}' is required.", code="missing_required_parameter")
    if not isinstance(said, str) or not 1 <= len(said) <= MAX_ID:
        raise wrong(where, f"must be a string of 1 to {MAX_ID} characters")
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


def is_blank(value: Any) -> bool:
    """Whether a value says nothing: null, empty, or an object or a list of such values."""
    if isinstance(value, dict):
        return all(map(is_blank, value.values()))
    if isinstance(value, list):
        return all(map(is_blank, value))
    return value is None or value == ""


def _call(value: Any, path: str) -> ToolCall:
    if not isinstance(value, dict):
        raise wrong(path, "must be an object")
    id = read_call_id(value.get("id"), f"{path}.id")
    kind = value.get("type")
    if kind not in ("function", "custom"):
        raise wrong(f"{path}.type", f"must be function or custom, not {cut(repr(kind))}")
    other = "custom" if kind == "function" else "function"
    if is_blank(value.get(other)):  # from a client that has one type for both kinds
        value = {name: field for name, field in value.items() if name != other}
    fields = read_object(value, path, {"id", "type", "index", kind})
    if type(fields.get("index", 0)) is not int:
        raise wrong(f"{path}.index", "must be a whole number")
    name, arguments = _read_call(fields.get(kind), f"{path}.{kind}", "arguments" if kind == "function" else "input")
    return ToolCall(id, name, arguments, kind)


def _read_call(value: Any, path: str, key: str) -> tuple[str, str]:
    """The name, and the arguments or the input under `key`."""
    # The official client's `parse` adds what it made of the arguments, and sends it back with them.
    parsed = "parsed_arguments"
    fields = read_object(value, path, {"name", key, parsed} if key == "arguments" else {"name", key})
    if not isinstance(fields.get(key), str):
        raise wrong(f"{path}.{key}", "must be a string")
    name = read_name(fields.get("name"), f"{path}.name")
    if parsed in fields and fields[parsed] != ToolCall("", name, fields[key]).parsed_arguments:
        raise wrong(f"{path}.{parsed}", f"is not what '{key}' says")
    return name, fields[key]
