"""JSON schemas of the tool fields, for the OpenAPI document."""

from typing import Any

from turnwise.server.schema.tool_definitions import MAX_NAME_CHARS, MAX_TOOLS


def object_schema(required: list[str], **properties: Any) -> dict[str, Any]:
    """Return the schema of an object without further properties."""
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def name_schema(max_chars: int) -> dict[str, Any]:
    """Return the schema of a tool's name."""
    return {"type": "string", "pattern": f"^[a-zA-Z0-9_-]{{1,{max_chars}}}$"}


def _tagged(tag: str, content: dict[str, Any]) -> dict[str, Any]:
    """The schema of `{"type": tag, tag: content}`."""
    return object_schema(["type", tag], type={"const": tag}, **{tag: content})


OPTIONAL_STRING: dict[str, Any] = {"type": ["string", "null"]}
PARAMETERS_SCHEMA: dict[str, Any] = {"type": ["object", "null"], "description": "JSON schema; always enforced."}
SYNTAX_SCHEMA: dict[str, Any] = {"enum": ["lark", "regex"]}

_NAME = name_schema(MAX_NAME_CHARS)
_FUNCTION = object_schema(
    ["name"], name=_NAME, description=OPTIONAL_STRING, parameters=PARAMETERS_SCHEMA,
    strict={"type": ["boolean", "null"]},
)  # fmt: skip
_GRAMMAR = object_schema(["syntax", "definition"], syntax=SYNTAX_SCHEMA, definition={"type": "string"})
_CUSTOM = object_schema(
    ["name"], name=_NAME, description=OPTIONAL_STRING,
    format={"anyOf": [object_schema(["type"], type={"const": "text"}), _tagged("grammar", _GRAMMAR)]},
)  # fmt: skip
_NAMED_TOOLS = [_tagged(tool_type, object_schema(["name"], name=_NAME)) for tool_type in ("function", "custom")]
_ALLOWED_TOOLS = object_schema(
    ["mode", "tools"], mode={"enum": ["auto", "required"]},
    tools={"type": "array", "minItems": 1, "items": {"anyOf": _NAMED_TOOLS}},
)  # fmt: skip

TOOL_SCHEMAS: dict[str, dict[str, Any]] = {
    "tools": {
        "type": "array",
        "maxItems": MAX_TOOLS,
        "description": "Tools that the model may call, instead of or after text.",
        "items": {"anyOf": [_tagged("function", _FUNCTION), _tagged("custom", _CUSTOM)]},
    },
    "tool_choice": {
        "description": "Whether the model may or must call a tool, and which ones.",
        "anyOf": [{"enum": ["none", "auto", "required"]}, *_NAMED_TOOLS, _tagged("allowed_tools", _ALLOWED_TOOLS)],
    },
    "functions": {
        "type": "array",
        "maxItems": MAX_TOOLS,
        "description": "Legacy form of 'tools'; the answer has a 'function_call'.",
        "items": _FUNCTION,
    },
    "function_call": {
        "description": "Legacy form of 'tool_choice'.",
        "anyOf": [{"enum": ["none", "auto"]}, object_schema(["name"], name=_NAME)],
    },
}
