"""Reading the tool calls in the `messages` of a request, and what answers them."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message, ToolCall
from turnwise.server.error_responses import truncate
from turnwise.server.schema.json_object import invalid_field, read_object
from turnwise.server.schema.tool_definitions import read_tool_name

MAX_CALL_ID_CHARS = 1000  # characters; gateways join several ids to one

TOOL_CALL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "type"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "maxLength": MAX_CALL_ID_CHARS},
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


def read_tool_calls(fields: Mapping[str, Any], path: str) -> tuple[ToolCall, ...]:
    """The calls of an assistant's message, in the published form or the older one. Raises `InvalidParameter`."""
    calls, legacy_call = fields.get("tool_calls"), fields.get("function_call")
    if is_blank(legacy_call):
        legacy_call = None
    if calls and legacy_call:
        raise invalid_field(f"{path}.function_call", "is the older form of 'tool_calls'; send one of them")
    if legacy_call:
        name, arguments = _read_call(legacy_call, f"{path}.function_call", "arguments")
        return (ToolCall("call_function", name, arguments),)
    if not calls:
        return ()
    if not isinstance(calls, list):
        raise invalid_field(f"{path}.tool_calls", "must be a list of calls")
    read = tuple(_call(call, f"{path}.tool_calls[{i}]") for i, call in enumerate(calls))
    ids: set[str] = set()
    for i, call in enumerate(read):
        if call.id in ids:
            raise invalid_field(f"{path}.tool_calls[{i}].id", f"is that of another call: {truncate(repr(call.id))}")
        ids.add(call.id)
    return read


def read_tool_call_id(value: Any, path: str) -> str:
    """The id of a call. Raises `InvalidParameter`."""
    if value is None:
        raise InvalidParameter(path, f"'{path}' is required.", code="missing_required_parameter")
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_CALL_ID_CHARS:
        raise invalid_field(path, f"must be a string of 1 to {MAX_CALL_ID_CHARS} characters")
    return value


class UnansweredToolCalls:
    """Which calls wait for their answer, from message to message."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, str]] = {}  # by id: the tool's name and the call's place

    def call_id_for(self, name: str, path: str) -> str:
        """The call that a message of the older role `function` answers: it has the tool's name only."""
        for id, (called, _) in self._open.items():
            if called == name:
                return id
        raise invalid_field(
            path, f"answers no call of the message before: none of '{truncate(name)}' waits for an answer"
        )

    def add(self, message: Message, path: str) -> None:
        """Take the next message. Raises `InvalidParameter` where it answers nothing, or comes before an answer."""
        if message.role == "tool":
            id = message.tool_call_id or ""
            if self._open.pop(id, None) is None:
                raise invalid_field(
                    f"{path}.tool_call_id", f"answers no call of the assistant's message before: {truncate(id)!r}"
                )
            return
        self.check_answered()
        self._open = {call.id: (call.name, f"{path}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls)}

    def check_answered(self) -> None:
        """Nothing more answers. Raises `InvalidParameter` naming the first call that nothing did."""
        for id, (_, path) in self._open.items():
            raise invalid_field(
                path,
                "is not answered: a message with the role 'tool' and this tool_call_id must follow it: "
                f"{truncate(id)!r}",
            )


def is_blank(value: Any) -> bool:
    """Whether a value says nothing: null, empty, or an object or a list of such values."""
    if isinstance(value, dict):
        return all(map(is_blank, value.values()))
    if isinstance(value, list):
        return all(map(is_blank, value))
    return value is None or value == ""


def _call(value: Any, path: str) -> ToolCall:
    if not isinstance(value, dict):
        raise invalid_field(path, "must be an object")
    id = read_tool_call_id(value.get("id"), f"{path}.id")
    kind = value.get("type")
    if kind not in ("function", "custom"):
        raise invalid_field(f"{path}.type", f"must be function or custom, not {truncate(repr(kind))}")
    other = "custom" if kind == "function" else "function"
    if is_blank(value.get(other)):  # from a client that has one type for both kinds
        value = {name: field for name, field in value.items() if name != other}
    fields = read_object(value, path, {"id", "type", "index", kind})
    if type(fields.get("index", 0)) is not int:
        raise invalid_field(f"{path}.index", "must be a whole number")
    name, arguments = _read_call(fields.get(kind), f"{path}.{kind}", "arguments" if kind == "function" else "input")
    return ToolCall(id, name, arguments, kind)


def _read_call(value: Any, path: str, key: str) -> tuple[str, str]:
    """The name, and the arguments or the input under `key`."""
    # The official client's `parse` adds what it made of the arguments, and sends it back with them.
    parsed = "parsed_arguments"
    fields = read_object(value, path, {"name", key, parsed} if key == "arguments" else {"name", key})
    if not isinstance(fields.get(key), str):
        raise invalid_field(f"{path}.{key}", "must be a string")
    name = read_tool_name(fields.get("name"), f"{path}.name")
    if parsed in fields and fields[parsed] != ToolCall("", name, fields[key]).parsed_arguments:
        raise invalid_field(f"{path}.{parsed}", f"is not what '{key}' says")
    return name, fields[key]
