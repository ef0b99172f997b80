"""Message content: a string, or a list of parts (text, and refusals of the assistant)."""

from typing import Any

from turnwise.server.error_responses import truncate
from turnwise.server.schema.json_object import invalid_field, missing_field, read_object

CACHE_BREAKPOINT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Has no effect: every prefix of a prompt is cached anyway. 'ttl' is not supported.",
    "required": ["mode"],
    "additionalProperties": False,
    "properties": {"mode": {"const": "explicit"}},
}
TEXT_PART_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "text"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "text"},
        "text": {"type": "string"},
        "prompt_cache_breakpoint": CACHE_BREAKPOINT_SCHEMA,
    },
}
REFUSAL_PART_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Only in messages of the assistant.",
    "required": ["type", "refusal"],
    "additionalProperties": False,
    "properties": {"type": {"const": "refusal"}, "refusal": {"type": "string"}},
}


def read_content(value: Any, path: str, *, allow_refusals: bool = False) -> str:
    """Return the text of message content; parts are joined by line breaks. Raises `InvalidParameter`."""
    if isinstance(value, str):
        return value
    if value is None:
        raise missing_field(path)
    if not isinstance(value, list) or not value:
        raise invalid_field(path, "must be a string, or a list of text parts that is not empty", "invalid_type")
    return "\n".join(_read_content_part(entry, f"{path}[{i}]", allow_refusals) for i, entry in enumerate(value))


def _read_content_part(content_part: Any, path: str, allow_refusals: bool) -> str:
    if allow_refusals and isinstance(content_part, dict) and content_part.get("type") == "refusal":
        return _read_string(read_object(content_part, path, ("type", "refusal")), "refusal", path)
    return read_text_part(content_part, path)


def read_text_part(content_part: Any, path: str) -> str:
    """Return the text of a text part. Raises `InvalidParameter`."""
    if not isinstance(content_part, dict):
        raise invalid_field(path, 'must be an object like {"type": "text", "text": …}', "invalid_type")
    part_type = content_part.get("type")
    if part_type != "text":
        requirement = f"must be 'text', not {truncate(repr(part_type))}: the models here read text only"
        raise invalid_field(f"{path}.type", requirement, "unsupported_value")
    fields = read_object(content_part, path, ("type", "text", "prompt_cache_breakpoint"))
    if "prompt_cache_breakpoint" in fields:
        check_cache_breakpoint(fields["prompt_cache_breakpoint"], f"{path}.prompt_cache_breakpoint")
    return _read_string(fields, "text", path)


def check_cache_breakpoint(value: Any, path: str) -> None:
    """Check a published field that has no effect here. Raises `InvalidParameter`."""
    fields = read_object(value, path, ("mode", "ttl"))
    if fields.get("mode") != "explicit":
        raise invalid_field(f"{path}.mode", "must be 'explicit'")
    if "ttl" in fields:
        requirement = "is not supported: the lifetime of cached prompts cannot be set"
        raise invalid_field(f"{path}.ttl", requirement, "unsupported_value")


def _read_string(fields: dict[str, Any], name: str, path: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str):
        raise invalid_field(f"{path}.{name}", "must be a string", "invalid_type")
    return text
