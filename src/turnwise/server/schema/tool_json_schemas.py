"""The tool fields as JSON schema, for the API's own description."""

from typing import Any

TOOL_NAME_SCHEMA: dict[str, Any] = {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def _one_of(kind: str, inner: dict[str, Any]) -> dict[str, Any]:
    return _object(["type", kind], type={"const": kind}, **{kind: inner})


_FUNCTION = _object(
    ["name"],
    name=TOOL_NAME_SCHEMA,
    description={"type": ["string", "null"]},
    parameters={"type": ["object", "null"], "description": "A JSON schema; arguments always follow it."},
    strict={"type": ["boolean", "null"]},
)
_GRAMMAR = _object(["syntax", "definition"], syntax={"enum": ["lark", "regex"]}, definition={"type": "string"})
_CUSTOM = _object(
    ["name"],
    name=TOOL_NAME_SCHEMA,
    description={"type": ["string", "null"]},
    format={"anyOf": [_object(["type"], type={"const": "text"}), _one_of("grammar", _GRAMMAR)]},
)
_NAMED = [
    _one_of("function", _object(["name"], name=TOOL_NAME_SCHEMA)),
    _one_of("custom", _object(["name"], name=TOOL_NAME_SCHEMA)),
]
_ALLOWED = _object(
    ["mode", "tools"],
    mode={"enum": ["auto", "required"]},
    tools={"type": "array", "minItems": 1, "items": {"anyOf": _NAMED}},
)

TOOL_SCHEMAS: dict[str, dict[str, Any]] = {
    "tools": {
        "type": "array",
        "maxItems": 128,
        "description": "What the model may call; it answers with calls instead of text, or after it.",
        "items": {"anyOf": [_one_of("function", _FUNCTION), _one_of("custom", _CUSTOM)]},
    },
    "tool_choice": {
        "description": "Whether the model may or must call, and which of the tools.",
        "anyOf": [{"enum": ["none", "auto", "required"]}, *_NAMED, _one_of("allowed_tools", _ALLOWED)],
    },
    "functions": {
        "type": "array",
        "maxItems": 128,
        "description": "The older form of 'tools'; answered with a 'function_call'.",
        "items": _FUNCTION,
    },
    "function_call": {
        "description": "The older form of 'tool_choice'.",
        "anyOf": [{"enum": ["none", "auto"]}, _object(["name"], name=TOOL_NAME_SCHEMA)],
    },
}
