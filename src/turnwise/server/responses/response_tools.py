"""Reading `tools` and `tool_choice` of a response: as in chat completions, without their inner objects."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.tools import Tool, ToolChoice
from turnwise.server.error_responses import truncate
from turnwise.server.schema.json_object import invalid_field, read_object
from turnwise.server.schema.tool_definitions import (
    MAX_TOOLS,
    ParsedToolChoice,
    read_custom_tool,
    read_function_tool,
    read_tool_list,
    read_tool_name,
)

MAX_TOOL_NAME_CHARS = 128  # characters of a tool's name, as published for this interface
TOOL_TYPES = ("function", "custom")
# Published keys of a tool, with the value that asks for nothing.
_NEUTRAL: dict[str, Any] = {
    "async": False,
    "defer_loading": False,
    "allowed_callers": ["direct"],
    "output_schema": None,
}
_HOSTED = "this server runs no tools of its own"

_NAME: dict[str, Any] = {"type": "string", "pattern": f"^[a-zA-Z0-9_-]{{1,{MAX_TOOL_NAME_CHARS}}}$"}
_TEXT = {"type": ["string", "null"]}
_CHOICE: dict[str, Any] = {
    "type": "object",
    "required": ["type", "name"],
    "additionalProperties": False,
    "properties": {"type": {"enum": list(TOOL_TYPES)}, "name": _NAME},
}
TOOLS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "maxItems": MAX_TOOLS,
    "description": "Functions and custom tools that the model may call. Tools that a server runs are not supported.",
    "items": {
        "anyOf": [
            {
                "type": "object",
                "required": ["type", "name"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "function"},
                    "name": _NAME,
                    "description": _TEXT,
                    "parameters": {"type": ["object", "null"], "description": "JSON schema; always enforced."},
                    "strict": {"type": ["boolean", "null"]},
                },
            },
            {
                "type": "object",
                "required": ["type", "name"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "custom"},
                    "name": _NAME,
                    "description": _TEXT,
                    "format": {
                        "type": "object",
                        "required": ["type"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"enum": ["text", "grammar"]},
                            "syntax": {"enum": ["lark", "regex"]},
                            "definition": {"type": "string"},
                        },
                    },
                },
            },
        ]
    },
}
CHOICE_SCHEMA: dict[str, Any] = {
    "description": "Whether the model may or must call, and which of the tools.",
    "anyOf": [
        {"enum": ["none", "auto", "required"]},
        _CHOICE,
        {
            "type": "object",
            "required": ["type", "mode", "tools"],
            "additionalProperties": False,
            "properties": {
                "type": {"const": "allowed_tools"},
                "mode": {"enum": ["auto", "required"]},
                "tools": {"type": "array", "minItems": 1, "maxItems": MAX_TOOLS, "items": _CHOICE},
            },
        },
    ],
}


def read_tools(value: Any) -> tuple[Tool, ...] | None:
    """The tools of a request; None where nothing was sent. Raises `InvalidParameter`."""
    return read_tool_list(value, "tools", _tool)


def read_tool_choice(value: Any) -> ParsedToolChoice | None:
    """Whether a tool may or must be called. Raises `InvalidParameter`."""
    if value is None:
        return None
    if value in ("none", "auto", "required"):
        return ParsedToolChoice(ToolChoice(value))
    if not isinstance(value, dict):
        raise invalid_field("tool_choice", f"must be none, auto, required or an object, not {truncate(repr(value))}")
    if value.get("type") == "allowed_tools":
        return _allowed(value)
    tool = _choice(value, "tool_choice")
    return ParsedToolChoice(ToolChoice("required", (tool[1],)), (tool,), is_single_call=True)


def _tool(value: Any, path: str) -> Tool:
    if not isinstance(value, dict):
        raise invalid_field(path, "must be an object")
    kind = value.get("type")
    if kind not in TOOL_TYPES:
        raise InvalidParameter(
            f"{path}.type", f"'{path}.type' must be function or custom, not {truncate(repr(kind))}: {_HOSTED}.",
            code="unsupported_value",
        )  # fmt: skip
    inner = {name: entry for name, entry in value.items() if name != "type" and entry is not None}
    for name, neutral in _NEUTRAL.items():
        if inner.pop(name, neutral) != neutral:
            raise InvalidParameter(
                f"{path}.{name}", f"'{path}.{name}' is not supported: the client runs every call.",
                code="unsupported_value",
            )  # fmt: skip
    if kind == "function":
        return read_function_tool(inner, path, MAX_TOOL_NAME_CHARS)
    inner = read_object(inner, path, {"name", "description", "format"})
    form = inner.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        grammar = read_object(form, f"{path}.format", {"type", "syntax", "definition"})
        return read_custom_tool(inner, path, grammar, f"{path}.format", MAX_TOOL_NAME_CHARS)
    return read_custom_tool(inner, path, None, "", MAX_TOOL_NAME_CHARS)


def _allowed(value: Mapping[str, Any]) -> ParsedToolChoice:
    fields = read_object(value, "tool_choice", {"type", "mode", "tools"})
    mode, tools = fields.get("mode"), fields.get("tools")
    if mode not in ("auto", "required"):
        raise invalid_field("tool_choice.mode", f"must be auto or required, not {truncate(repr(mode))}")
    if not isinstance(tools, list) or not 1 <= len(tools) <= MAX_TOOLS:
        raise invalid_field("tool_choice.tools", f"must be a list of 1 to {MAX_TOOLS} tools")
    named_tools = tuple(_choice(entry, f"tool_choice.tools[{i}]") for i, entry in enumerate(tools))
    return ParsedToolChoice(ToolChoice(mode, tuple(name for _, name, _ in named_tools)), named_tools)


def _choice(value: Any, path: str) -> tuple[str, str, str]:
    """Kind, name and path of a tool that a choice names."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in TOOL_TYPES:
        raise invalid_field(
            f"{path}.type", f"must be function, custom or allowed_tools, not {truncate(repr(kind))}: {_HOSTED}"
        )
    inner = read_object(value, path, {"type", "name"})
    return kind, read_tool_name(inner.get("name"), f"{path}.name", MAX_TOOL_NAME_CHARS), f"{path}.name"
