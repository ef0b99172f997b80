"""The field `input`: messages, tool calls and their outputs, and references to stored items."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import ToolCall
from turnwise.server.error_responses import truncate
from turnwise.server.responses.response_tools import MAX_TOOL_NAME_CHARS
from turnwise.server.schema.content_parts import check_cache_breakpoint
from turnwise.server.schema.json_object import invalid_field, missing_field, read_object
from turnwise.server.schema.request_tool_calls import MAX_CALL_ID_CHARS, read_tool_call_id
from turnwise.server.schema.tool_definitions import read_tool_name

ROLES = ("user", "assistant", "system", "developer")
STATUSES = ("in_progress", "completed", "incomplete")
ITEM_REFERENCE = "item_reference"
_TEXT_ONLY = "the models here read text only"

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class InputItem:
    """An item of the input.

    Attributes:
        path: path in the request, for errors.
        body: the item in its published form; `id` is null if the client sent none.
    """

    path: str
    body: Mapping[str, Any]


def read_input(value: Any) -> tuple[InputItem, ...]:
    """Return the items of the input. Raises `InvalidParameter` with a path such as `input[2].role`."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (InputItem("input", _read_item({"role": "user", "content": value}, "input")),)
    if not isinstance(value, list):
        raise invalid_field("input", "must be a string or a list of items")
    return tuple(InputItem(f"input[{i}]", _read_item(entry, f"input[{i}]")) for i, entry in enumerate(value))


def _read_item(entry: Any, path: str) -> JsonObject:
    if not isinstance(entry, dict):
        raise invalid_field(path, "must be an object")
    entry = {name: value for name, value in entry.items() if value is not None}
    default_type = "message" if "role" in entry else ITEM_REFERENCE if entry.keys() == {"id"} else None
    item_type = entry.get("type", default_type)
    if item_type is None:
        raise missing_field(f"{path}.type")
    reader = _READERS.get(item_type) if isinstance(item_type, str) else None
    if reader is None:
        raise InvalidParameter(
            f"{path}.type", f"'{path}.type' must be one of {', '.join(_READERS)}, not {truncate(repr(item_type))}: "
            "this server runs no tools of its own.", code="unsupported_value",
        )  # fmt: skip
    body = reader(entry, path)
    id, status = entry.get("id"), entry.get("status", "completed")
    if id is not None and (not isinstance(id, str) or not 1 <= len(id) <= MAX_CALL_ID_CHARS):
        raise invalid_field(f"{path}.id", f"must be a string of 1 to {MAX_CALL_ID_CHARS} characters")
    if status not in STATUSES:
        raise invalid_field(f"{path}.status", f"must be one of {', '.join(STATUSES)}, not {truncate(repr(status))}")
    return {"id": id, **body} if item_type == ITEM_REFERENCE else {"id": id, "status": status, **body}


def _read_message(entry: JsonObject, path: str) -> JsonObject:
    role = entry.get("role")
    fields = {"type", "role", "content", "id", "status"} | ({"phase"} if role == "assistant" else set())
    read_object(entry, path, fields)
    if role not in ROLES:
        raise invalid_field(f"{path}.role", f"must be one of {', '.join(ROLES)}, not {truncate(repr(role))}")
    if entry.get("phase") not in (None, "commentary", "final_answer"):
        raise invalid_field(f"{path}.phase", "must be commentary or final_answer")
    content = entry.get("content")
    if isinstance(content, str):
        return _message_body(role, [("output_text" if role == "assistant" else "input_text", content)])
    if not isinstance(content, list) or not content:
        raise invalid_field(f"{path}.content", "must be a string, or a list of text parts that is not empty")
    parts = [_read_content_part(entry, role, f"{path}.content[{i}]") for i, entry in enumerate(content)]
    return _message_body(role, parts)


def _message_body(role: str, parts: list[tuple[str, str]]) -> JsonObject:
    content: list[JsonObject] = []
    for part_type, text in parts:
        content.append(_CONTENT[part_type] | {"type": part_type, _text_key(part_type): text})
    return {"type": "message", "role": role, "content": content}


# Fields of a part besides its text, by type.
_CONTENT: dict[str, JsonObject] = {"input_text": {}, "output_text": {"annotations": [], "logprobs": []}, "refusal": {}}


def _text_key(part_type: str) -> str:
    return "refusal" if part_type == "refusal" else "text"


def _read_content_part(content_part: Any, role: str, path: str) -> tuple[str, str]:
    """Type and text of a part. Other fields of assistant parts come from our responses and are ignored."""
    if not isinstance(content_part, dict):
        raise invalid_field(path, 'must be an object like {"type": "input_text", "text": …}')
    part_type = content_part.get("type")
    allowed_types = tuple(_CONTENT) if role == "assistant" else ("input_text",)
    if part_type not in allowed_types:
        raise InvalidParameter(
            f"{path}.type", f"'{path}.type' must be {' or '.join(allowed_types)}, not {truncate(repr(part_type))}: "
            f"{_TEXT_ONLY}.", code="unsupported_value",
        )  # fmt: skip
    key = _text_key(part_type)
    known_fields = {"type", key} | ({"annotations", "logprobs", "parsed"} if part_type == "output_text" else set())
    fields = read_object(content_part, path, known_fields | {"prompt_cache_breakpoint"})
    if "prompt_cache_breakpoint" in fields:
        check_cache_breakpoint(fields["prompt_cache_breakpoint"], f"{path}.prompt_cache_breakpoint")
    if not isinstance(fields.get(key), str):
        raise invalid_field(f"{path}.{key}", "must be a string")
    return part_type, fields[key]


def _call_reader(item_type: str, arguments_key: str) -> Callable[[JsonObject, str], JsonObject]:
    def read(entry: JsonObject, path: str) -> JsonObject:
        fields = {"type", "id", "call_id", "name", arguments_key, "status", "parsed_arguments", *_NEUTRAL_VALUES}
        read_object(entry, path, fields)
        _check_neutral(entry, path)
        name = read_tool_name(entry.get("name"), f"{path}.name", MAX_TOOL_NAME_CHARS)
        text = entry.get(arguments_key)
        if not isinstance(text, str):
            raise invalid_field(f"{path}.{arguments_key}", "must be a string")
        parsed = entry.get("parsed_arguments")  # `parse` of the official client adds it
        if parsed is not None and parsed != ToolCall("", name, text).parsed_arguments:
            raise invalid_field(f"{path}.parsed_arguments", f"differs from '{arguments_key}'")
        return {
            "type": item_type,
            "call_id": read_tool_call_id(entry.get("call_id"), f"{path}.call_id"),
            "name": name,
            arguments_key: text,
        }

    return read


def _output_reader(item_type: str) -> Callable[[JsonObject, str], JsonObject]:
    def read(entry: JsonObject, path: str) -> JsonObject:
        read_object(entry, path, {"type", "id", "call_id", "output", "status", "name", *_NEUTRAL_VALUES})
        _check_neutral(entry, path)
        output = entry.get("output")
        if isinstance(output, list):
            parts = [_read_content_part(entry, "user", f"{path}.output[{i}]") for i, entry in enumerate(output)]
            output = [{"type": "input_text", "text": text} for _, text in parts]
        elif not isinstance(output, str):
            raise invalid_field(f"{path}.output", "must be a string or a list of text parts")
        return {
            "type": item_type,
            "call_id": read_tool_call_id(entry.get("call_id"), f"{path}.call_id"),
            "output": output,
        }

    return read


# Published fields of calls and outputs, with the value that has no effect.
_NEUTRAL_VALUES = {"namespace": None, "caller": {"type": "direct"}, "async": False, "created_by": None}


def _check_neutral(entry: JsonObject, path: str) -> None:
    for name, neutral in _NEUTRAL_VALUES.items():
        if entry.get(name) not in (None, neutral):
            raise InvalidParameter(
                f"{path}.{name}", f"'{path}.{name}' is not supported: this server runs no tools of its own.",
                code="unsupported_value",
            )  # fmt: skip


def _read_reasoning(entry: JsonObject, path: str) -> JsonObject:
    """Reasoning that the client got from another server. It is stored, and not shown to the model."""
    read_object(entry, path, {"type", "id", "summary", "content", "encrypted_content", "status"})
    return {"type": "reasoning", "summary": entry.get("summary", [])}


def _read_reference(entry: JsonObject, path: str) -> JsonObject:
    read_object(entry, path, {"type", "id"})
    if "id" not in entry:
        raise missing_field(f"{path}.id")
    return {"type": ITEM_REFERENCE}


_READERS: dict[str, Callable[[JsonObject, str], JsonObject]] = {
    "message": _read_message,
    "function_call": _call_reader("function_call", "arguments"),
    "function_call_output": _output_reader("function_call_output"),
    "custom_tool_call": _call_reader("custom_tool_call", "input"),
    "custom_tool_call_output": _output_reader("custom_tool_call_output"),
    "reasoning": _read_reasoning,
    ITEM_REFERENCE: _read_reference,
}

INPUT_SCHEMA: dict[str, Any] = {
    "description": "A user message, or items: messages, tool calls and their outputs, and references to stored items.",
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"enum": list(_READERS)},
                    "role": {"enum": list(ROLES)},
                    "content": {
                        "anyOf": [
                            {"type": "string"},
                            {"type": "array", "items": {"type": "object", "required": ["type"], "properties": {
                                "type": {"enum": list(_CONTENT)}, "text": {"type": "string"}}}},
                        ]
                    },
                    "id": {"type": "string", "maxLength": MAX_CALL_ID_CHARS},
                    "call_id": {"type": "string", "maxLength": MAX_CALL_ID_CHARS},
                    "name": {"type": "string", "maxLength": MAX_TOOL_NAME_CHARS},
                    "arguments": {"type": "string"},
                    "input": {"type": "string"},
                    "output": {"anyOf": [{"type": "string"}, {"type": "array"}]},
                    "status": {"enum": list(STATUSES)},
                },
            },
        },
    ],
}  # fmt: skip
