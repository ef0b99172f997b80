"""Structured output: the field `response_format`, and the extensions `guided_regex`, `_choice` and `_grammar`."""

import re
from functools import partial
from typing import Annotated, Any

from turnwise.core.chat_request import ResponseFormat
from turnwise.core.errors import InvalidParameter
from turnwise.server.error_responses import truncate
from turnwise.server.schema.json_object import invalid_field, read_object
from turnwise.server.schema.request_field import EXTENSION, PageControl, Reader, RequestBody

RESPONSE_FORMAT_TYPES = ("text", "json_object", "json_schema")
MAX_CHOICES = 1000
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

RESPONSE_FORMAT_SCHEMA: dict[str, Any] = {
    "description": "Format of the answer; enforced token by token.",
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

_REGEX_SCHEMA = {"type": "string", "description": "A regular expression that the whole answer matches."}
_CHOICE_SCHEMA = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 1,
    "maxItems": MAX_CHOICES,
    "description": "The answer is one of these strings.",
}
_GRAMMAR_SCHEMA = {
    "type": "string",
    "description": "A context-free grammar that the answer follows, in Lark's notation (as llguidance reads it).",
}


def read_response_format(value: Any) -> ResponseFormat | None:
    """Return the format of the answer; None for plain text. Raises `InvalidParameter`."""
    if value is None:
        return None
    fields = read_object(value, "response_format", {"type", "json_schema"})
    format_type = fields.get("type")
    if format_type not in RESPONSE_FORMAT_TYPES:
        requirement = f"must be one of {', '.join(RESPONSE_FORMAT_TYPES)}, not {truncate(repr(format_type))}"
        raise invalid_field("response_format.type", requirement)
    if format_type != "json_schema":
        if "json_schema" in fields:
            raise invalid_field("response_format.json_schema", f"is not allowed with the type '{format_type}'")
        return None if format_type == "text" else ResponseFormat("json_object")
    return read_json_schema(fields.get("json_schema"), "response_format.json_schema", "response_format")


def read_json_schema(value: Any, path: str, param: str) -> ResponseFormat:
    """Return a named JSON schema as a format.

    Args:
        value: the object with `name` and `schema`.
        path: path of that object, for errors of this function.
        param: path for errors that are found later, when the schema is compiled.

    Raises:
        InvalidParameter: a field is missing or invalid.
    """
    fields = read_object(value, path, {"name", "description", "schema", "strict"})
    name = fields.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise invalid_field(f"{path}.name", "must be 1 to 64 letters, digits, '_' or '-'")
    for key, value_type, type_name in (("description", str, "a string"), ("strict", bool, "true or false")):
        if not isinstance(fields.get(key), value_type | None):
            raise invalid_field(f"{path}.{key}", f"must be {type_name}")
    schema = fields.get("schema")
    if not isinstance(schema, dict):
        raise invalid_field(f"{path}.schema", "must be a JSON schema, an object")
    return ResponseFormat("json_schema", schema, param)


def read_guided(name: str, value: Any) -> ResponseFormat | None:
    """Return the format that the extension `name` sets; None for null. Raises `InvalidParameter`."""
    if value is None:
        return None
    if name != "guided_choice":
        if not isinstance(value, str) or not value:
            raise invalid_field(name, "must be a string that is not empty")
        return ResponseFormat("regex" if name == "guided_regex" else "lark", value, name)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CHOICES:
        raise invalid_field(name, f"must be a list of 1 to {MAX_CHOICES} strings")
    if not all(isinstance(choice, str) and choice for choice in value):
        raise invalid_field(name, "must have strings that are not empty")
    return ResponseFormat("choice", tuple(value), name)


class GuidedFields(RequestBody):
    """Formats besides those of `response_format`."""

    guided_regex: Annotated[
        ResponseFormat | None,
        Reader(partial(read_guided, "guided_regex"), _REGEX_SCHEMA),
        EXTENSION,
        PageControl("format", "The whole answer matches this regular expression.", "text"),
    ] = None
    guided_choice: Annotated[
        ResponseFormat | None,
        Reader(partial(read_guided, "guided_choice"), _CHOICE_SCHEMA),
        EXTENSION,
        PageControl("format", "The answer is one of these texts, one per line.", "lines"),
    ] = None
    guided_grammar: Annotated[
        ResponseFormat | None,
        Reader(partial(read_guided, "guided_grammar"), _GRAMMAR_SCHEMA),
        EXTENSION,
        PageControl("format", "The answer follows this grammar, in the notation of Lark.", "text"),
    ] = None

    def resolve_format(self, published_format: ResponseFormat | None = None) -> ResponseFormat | None:
        """Return the only format that is set. Raises `InvalidParameter` if several are."""
        return resolve_format([published_format, self.guided_regex, self.guided_choice, self.guided_grammar])


def resolve_format(formats: list[ResponseFormat | None]) -> ResponseFormat | None:
    """Return the only format that is set. Raises `InvalidParameter` if several are."""
    set_formats = [format for format in formats if format is not None]
    if len(set_formats) > 1:
        names = " and ".join(f"'{format.param}'" for format in set_formats)
        raise InvalidParameter(set_formats[1].param, f"{names} exclude each other; send one of them.")
    return set_formats[0] if set_formats else None
