"""Reading what an answer must look like: `response_format` as published, and the `guided_…` extensions."""

import re
from typing import Any

from turnwise.chat.service import ResponseFormat
from turnwise.core.errors import InvalidParameter
from turnwise.server.error_responses import truncate
from turnwise.server.schema.json_object import invalid_field, read_object

RESPONSE_FORMAT_TYPES = ("text", "json_object", "json_schema")
MAX_CHOICES = 1000
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

RESPONSE_FORMAT_SCHEMA: dict[str, Any] = {
    "description": "What the answer must look like; enforced token by token.",
    "anyOf": [
        {"type": "object", "properties": {"type": {"enum": ["text", "json_object"]}}, "required": ["type"],
         "additionalProperties": False},
        {
            "type": "object",
            "required": ["type", "json_schema"],
            "additionalProperties": False,
            "properties": {
                "type": {"const": "json_schema"},
                "json_schema": {
                    "type": "object",
                    "required": ["name", "schema"],
                    "additionalProperties": False,
                    "properties": {
                        "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
                        "description": {"type": ["string", "null"]},
                        "schema": {"type": "object"},
                        "strict": {"type": ["boolean", "null"]},
                    },
                },
            },
        },
    ],
}  # fmt: skip

GUIDED_SCHEMAS: dict[str, dict[str, Any]] = {
    "guided_regex": {"type": "string", "description": "A regular expression that the whole answer matches."},
    "guided_choice": {
        "type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_CHOICES,
        "description": "The answer is one of these.",
    },
    "guided_grammar": {
        "type": "string",
        "description": "A context-free grammar in Lark's notation (as llguidance reads it) that the answer follows.",
    },
}  # fmt: skip


def read_response_format(value: Any) -> ResponseFormat | None:
    """The format asked for; None for plain text. Raises `InvalidParameter`."""
    if value is None:
        return None
    fields = read_object(value, "response_format", {"type", "json_schema"})
    kind = fields.get("type")
    if kind not in RESPONSE_FORMAT_TYPES:
        raise invalid_field(
            "response_format.type", f"must be one of {', '.join(RESPONSE_FORMAT_TYPES)}, not {truncate(repr(kind))}"
        )
    if kind != "json_schema":
        if "json_schema" in fields:
            raise invalid_field("response_format.json_schema", f"does not go with the type '{kind}'")
        return None if kind == "text" else ResponseFormat("json_object")
    return read_json_schema(fields.get("json_schema"), "response_format.json_schema", "response_format")


def read_json_schema(value: Any, path: str, param: str) -> ResponseFormat:
    """A named JSON schema that answers must follow; `param` is what later errors name. Raises `InvalidParameter`."""
    inner = read_object(value, path, {"name", "description", "schema", "strict"})
    name = inner.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise invalid_field(f"{path}.name", "must be 1 to 64 letters, digits, '_' or '-'")
    for key, kind_of, noun in (("description", str, "a string"), ("strict", bool, "true or false")):
        if not isinstance(inner.get(key), kind_of | None):
            raise invalid_field(f"{path}.{key}", f"must be {noun}")
    schema = inner.get("schema")
    if not isinstance(schema, dict):
        raise invalid_field(f"{path}.schema", "must be a JSON schema, an object")
    return ResponseFormat("json_schema", schema, param)


def read_guided(name: str, value: Any) -> ResponseFormat | None:
    """One of the extensions. Raises `InvalidParameter`."""
    if value is None:
        return None
    if name != "guided_choice":
        if not isinstance(value, str) or not value:
            raise invalid_field(name, "must be a string that is not empty")
        return ResponseFormat("regex" if name == "guided_regex" else "lark", value, name)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CHOICES:
        raise invalid_field(name, f"must be a list of 1 to {MAX_CHOICES} strings")
    if not all(isinstance(choice, str) and choice for choice in value):
        raise invalid_field(name, "must hold strings that are not empty")
    return ResponseFormat("choice", tuple(value), name)


def resolve_format(formats: list[ResponseFormat | None]) -> ResponseFormat | None:
    """The only one that was asked for. Raises `InvalidParameter` where several were."""
    formats_present = [format for format in formats if format is not None]
    if len(formats_present) > 1:
        names = " and ".join(f"'{format.param}'" for format in formats_present)
        raise InvalidParameter(formats_present[1].param, f"{names} exclude each other; send one of them.")
    return formats_present[0] if formats_present else None
