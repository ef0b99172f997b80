"""Tool calls in the `messages` of a request, and the messages that answer them."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.messages import Message, ToolCall
from turnwise.server.error_responses import truncate
from turnwise.server.schema.json_object import invalid_field, missing_field, read_object
from turnwise.server.schema.tool_definitions import TOOL_TYPES, read_tool_name

MAX_CALL_ID_CHARS = 1000  # gateways concatenate several ids

TOOL_CALL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "type"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "maxLength": MAX_CALL_ID_CHARS},
        "type": {"enum": list(TOOL_TYPES)},
        "index": {"type": "integer", "description": "Has no effect: the index of a streamed call, sent back."},
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
    """Return the calls of an assistant message, from `tool_calls` or the legacy `function_call`.

    Raises `InvalidParameter`.
    """
    calls, legacy_call = fields.get("tool_calls"), fields.get("function_call")
    if is_blank(legacy_call):
        legacy_call = None
    if calls and legacy_call:
        raise invalid_field(f"{path}.function_call", "is the legacy form of 'tool_calls'; send one of them")
    if legacy_call:
        name, arguments = _read_name_and_arguments(legacy_call, f"{path}.function_call", "arguments")
        return (ToolCall("call_function", name, arguments),)
    if not calls:
        return ()
    if not isinstance(calls, list):
        raise invalid_field(f"{path}.tool_calls", "must be a list of calls")
    tool_calls = tuple(_read_call(call, f"{path}.tool_calls[{i}]") for i, call in enumerate(calls))
    ids: set[str] = set()
    for i, call in enumerate(tool_calls):
        if call.id in ids:
            raise invalid_field(f"{path}.tool_calls[{i}].id", f"is the id of another call: {truncate(repr(call.id))}")
        ids.add(call.id)
    return tool_calls


def read_tool_call_id(value: Any, path: str) -> str:
    """Return the id of a call. Raises `InvalidParameter`."""
    if value is None:
        raise missing_field(path)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_CALL_ID_CHARS:
        raise invalid_field(path, f"must be a string of 1 to {MAX_CALL_ID_CHARS} characters")
    return value


class UnansweredToolCalls:
    """Checks that every call is answered by a message after it, and every tool message answers a call."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[str, str]] = {}  # by id: name of the tool, and path of the call

    def call_id_for(self, name: str, path: str) -> str:
        """Return the id of the call that a message with the legacy role `function` answers, by the tool's name."""
        for id, (tool_name, _) in self._calls.items():
            if tool_name == name:
                return id
        requirement = f"answers no call of the message before: no call of '{truncate(name)}' is unanswered"
        raise invalid_field(path, requirement)

    def add(self, message: Message, path: str) -> None:
        """Add the next message. Raises `InvalidParameter` if it answers no call, or if an answer is missing before."""
        if message.role == "tool":
            id = message.tool_call_id or ""
            if self._calls.pop(id, None) is None:
                requirement = f"answers no call of the assistant's message before: {truncate(id)!r}"
                raise invalid_field(f"{path}.tool_call_id", requirement)
            return
        self.check_answered()
        self._calls = {call.id: (call.name, f"{path}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls)}

    def check_answered(self) -> None:
        """Raise `InvalidParameter` if a call is unanswered."""
        for id, (_, path) in self._calls.items():
            requirement = (
                "is not answered: a message with the role 'tool' and this tool_call_id must follow it: "
                f"{truncate(id)!r}"
            )
            raise invalid_field(path, requirement)


def is_blank(value: Any) -> bool:
    """Whether a value is null, empty, or an object or list of such values."""
    if isinstance(value, dict):
        return all(map(is_blank, value.values()))
    if isinstance(value, list):
        return all(map(is_blank, value))
    return value is None or value == ""


def _read_call(value: Any, path: str) -> ToolCall:
    if not isinstance(value, dict):
        raise invalid_field(path, "must be an object")
    id = read_tool_call_id(value.get("id"), f"{path}.id")
    tool_type = value.get("type")
    if tool_type not in TOOL_TYPES:
        raise invalid_field(f"{path}.type", f"must be function or custom, not {truncate(repr(tool_type))}")
    other_type = "custom" if tool_type == "function" else "function"
    if is_blank(value.get(other_type)):  # some clients have one class for both types of calls
        value = {name: field for name, field in value.items() if name != other_type}
    fields = read_object(value, path, {"id", "type", "index", tool_type})
    if type(fields.get("index", 0)) is not int:
        raise invalid_field(f"{path}.index", "must be an integer")
    arguments_key = "arguments" if tool_type == "function" else "input"
    name, arguments = _read_name_and_arguments(fields.get(tool_type), f"{path}.{tool_type}", arguments_key)
    return ToolCall(id, name, arguments, tool_type)


def _read_name_and_arguments(value: Any, path: str, key: str) -> tuple[str, str]:
    """The name, and the arguments or the input, which the field `key` holds."""
    # `parse` of the official client adds the parsed arguments, and clients send them back.
    parsed_key = "parsed_arguments"
    fields = read_object(value, path, {"name", key, parsed_key} if key == "arguments" else {"name", key})
    if not isinstance(fields.get(key), str):
        raise invalid_field(f"{path}.{key}", "must be a string")
    name = read_tool_name(fields.get("name"), f"{path}.name")
    if parsed_key in fields and fields[parsed_key] != ToolCall("", name, fields[key]).parsed_arguments:
        raise invalid_field(f"{path}.{parsed_key}", f"differs from '{key}'")
    return name, fields[key]
