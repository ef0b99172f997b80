"""The fields `tools` and `tool_choice` of the Responses API: as in chat completions, but without inner objects."""

from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.tools import Tool, ToolChoice
from turnwise.server.error_responses import truncate
from turnwise.server.schema.json_object import invalid_field, read_object
from turnwise.server.schema.tool_choice import MODES, NamedTool, ParsedToolChoice, read_allowed_tools
from turnwise.server.schema.tool_definitions import (
    MAX_TOOLS,
    TOOL_TYPES,
    read_custom_tool,
    read_function_tool,
    read_tool_list,
    read_tool_name,
)
from turnwise.server.schema.tool_json_schemas import (
    OPTIONAL_STRING,
    PARAMETERS_SCHEMA,
    SYNTAX_SCHEMA,
    name_schema,
    object_schema,
)

MAX_TOOL_NAME_CHARS = 128  # as published for this API
# Published fields of a tool, with the value that has no effect.
_NEUTRAL_VALUES: dict[str, Any] = {
    "async": False,
    "defer_loading": False,
    "allowed_callers": ["direct"],
    "output_schema": None,
}
_NO_HOSTED_TOOLS = "this server runs no tools of its own"

_NAME = name_schema(MAX_TOOL_NAME_CHARS)
_NAMED_TOOL = object_schema(["type", "name"], type={"enum": list(TOOL_TYPES)}, name=_NAME)
_FUNCTION = object_schema(
    ["type", "name"], type={"const": "function"}, name=_NAME, description=OPTIONAL_STRING,
    parameters=PARAMETERS_SCHEMA, strict={"type": ["boolean", "null"]},
)  # fmt: skip
_CUSTOM = object_schema(
    ["type", "name"], type={"const": "custom"}, name=_NAME, description=OPTIONAL_STRING,
    format=object_schema(
        ["type"], type={"enum": ["text", "grammar"]}, syntax=SYNTAX_SCHEMA, definition={"type": "string"}
    ),
)  # fmt: skip
TOOLS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "maxItems": MAX_TOOLS,
    "description": "Functions and custom tools that the model may call. Tools that a server runs are not supported.",
    "items": {"anyOf": [_FUNCTION, _CUSTOM]},
}
CHOICE_SCHEMA: dict[str, Any] = {
    "description": "Whether the model may or must call a tool, and which ones.",
    "anyOf": [
        {"enum": list(MODES)},
        _NAMED_TOOL,
        object_schema(
            ["type", "mode", "tools"], type={"const": "allowed_tools"}, mode={"enum": ["auto", "required"]},
            tools={"type": "array", "minItems": 1, "maxItems": MAX_TOOLS, "items": _NAMED_TOOL},
        ),
    ],
}  # fmt: skip


def read_tools(value: Any) -> tuple[Tool, ...] | None:
    """Return the tools of a request; None for null. Raises `InvalidParameter`."""
    return read_tool_list(value, "tools", _read_tool)


def read_tool_choice(value: Any) -> ParsedToolChoice | None:
    """Return the tool choice of a request; None for null. Raises `InvalidParameter`."""
    if value is None:
        return None
    if value in MODES:
        return ParsedToolChoice(ToolChoice(value))
    if not isinstance(value, dict):
        raise invalid_field("tool_choice", f"must be none, auto, required or an object, not {truncate(repr(value))}")
    if value.get("type") == "allowed_tools":
        fields = read_object(value, "tool_choice", {"type", "mode", "tools"})
        return read_allowed_tools(fields, "tool_choice", _read_named_tool)
    return ParsedToolChoice.of_tool(_read_named_tool(value, "tool_choice"), is_single_call=True)


def _read_tool(value: Any, path: str) -> Tool:
    if not isinstance(value, dict):
        raise invalid_field(path, "must be an object")
    tool_type = value.get("type")
    if tool_type not in TOOL_TYPES:
        raise InvalidParameter(
            f"{path}.type",
            f"'{path}.type' must be function or custom, not {truncate(repr(tool_type))}: {_NO_HOSTED_TOOLS}.",
            code="unsupported_value",
        )
    fields = {name: field for name, field in value.items() if name != "type" and field is not None}
    for name, neutral in _NEUTRAL_VALUES.items():
        if fields.pop(name, neutral) != neutral:
            raise InvalidParameter(
                f"{path}.{name}", f"'{path}.{name}' is not supported: the client runs every call.",
                code="unsupported_value",
            )  # fmt: skip
    if tool_type == "function":
        return read_function_tool(fields, path, MAX_TOOL_NAME_CHARS)
    fields = read_object(fields, path, {"name", "description", "format"})
    input_format = fields.get("format")
    if isinstance(input_format, dict) and input_format.get("type") == "grammar":
        grammar = read_object(input_format, f"{path}.format", {"type", "syntax", "definition"})
        return read_custom_tool(fields, path, grammar, f"{path}.format", MAX_TOOL_NAME_CHARS)
    return read_custom_tool(fields, path, None, "", MAX_TOOL_NAME_CHARS)


def _read_named_tool(value: Any, path: str) -> NamedTool:
    tool_type = value.get("type") if isinstance(value, dict) else None
    if tool_type not in TOOL_TYPES:
        requirement = f"must be function, custom or allowed_tools, not {truncate(repr(tool_type))}: {_NO_HOSTED_TOOLS}"
        raise invalid_field(f"{path}.type", requirement)
    fields = read_object(value, path, {"type", "name"})
    name_path = f"{path}.name"
    return NamedTool(tool_type, read_tool_name(fields.get("name"), name_path, MAX_TOOL_NAME_CHARS), name_path)
