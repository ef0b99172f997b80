"""Reading the `messages` of a request."""

from typing import Any, cast

from turnwise.core.messages import Message, Role
from turnwise.server.error_responses import truncate
from turnwise.server.schema.content_parts import REFUSAL_PART_SCHEMA, TEXT_PART_SCHEMA, read_content
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS, invalid_field, missing_field, read_object
from turnwise.server.schema.request_tool_calls import (
    TOOL_CALL_SCHEMA,
    UnansweredToolCalls,
    is_blank,
    read_tool_call_id,
    read_tool_calls,
)

ACCEPTED_ROLES = ("system", "developer", "user", "assistant", "tool", "function")

_FIELDS = {"role", "content", "name", "pinned"}
_CALLS = {"function_call", "tool_calls"}
_ROLE_FIELDS = {"assistant": {*_CALLS, "refusal"}, "tool": {"tool_call_id"}}
_ANY_ROLE_FIELDS = set().union(*_ROLE_FIELDS.values())

# Fields that our own answers, streamed chunks and stored messages have beside those that are read, and those that
# client libraries add to them. Clients send them back with the message; they say nothing to the model.
ECHOED_FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": (str, int), "object": str, "created": (int, float), "meta": dict, "parent_id": str, "sibling_ids": list,
}  # fmt: skip
ECHOED_ASSISTANT_FIELDS: dict[str, type | tuple[type, ...]] = {
    "index": int, "finish_reason": str, "logprobs": dict, "reasoning_content": str, "parsed": object,
}  # fmt: skip
# Empty in every one of our answers; what they could hold elsewhere is not supported.
EMPTY_ECHOED_FIELDS = ("annotations", "audio")

SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "description": "The conversation so far, oldest message first.",
    "items": {
        "type": "object",
        "required": ["role"],
        "additionalProperties": False,
        "properties": {
            "role": {"enum": list(ACCEPTED_ROLES)},
            "content": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "array",
                        "minItems": 1,
                        "description": "Text parts; they are joined by line breaks.",
                        "items": {"anyOf": [TEXT_PART_SCHEMA, REFUSAL_PART_SCHEMA]},
                    },
                    {"type": "null", "description": "Only where the assistant calls tools instead."},
                ]
            },
            "name": {"type": "string", "maxLength": MAX_IDENTIFIER_CHARS},
            "tool_calls": {"type": "array", "items": TOOL_CALL_SCHEMA},
            "tool_call_id": {"type": "string"},
            "function_call": TOOL_CALL_SCHEMA["properties"]["function"],
            "refusal": {"type": ["string", "null"], "description": "Of the assistant; read as its text."},
            "pinned": {
                "type": "boolean",
                "description": "Stays, with all of its turn, when older messages are dropped (context_policy).",
            },
        },
    },
}


def read_messages(value: Any) -> tuple[Message, ...]:
    """The request's messages as ours. Raises `InvalidParameter` with a path such as `messages[2].role`."""
    if not isinstance(value, list):
        raise invalid_field("messages", "must be a list of messages", "invalid_type")
    if not value:
        raise invalid_field("messages", "is empty; send at least one message")
    messages, calls = [], UnansweredToolCalls()
    for i, entry in enumerate(value):
        message = _message(entry, f"messages[{i}]", calls)
        calls.add(message, f"messages[{i}]")
        messages.append(message)
    calls.check_answered()
    return tuple(messages)


def _message(entry: Any, path: str, calls: UnansweredToolCalls) -> Message:
    if not isinstance(entry, dict):
        raise invalid_field(path, "must be an object with 'role' and 'content'", "invalid_type")
    role = _role(entry.get("role"), f"{path}.role")
    fields = _message_fields(entry, role, path)
    name, pinned = _name(fields.get("name"), f"{path}.name"), _pinned(fields.get("pinned"), f"{path}.pinned")
    content = fields.get("content")
    if role == "function":
        text = "" if content is None else read_content(content, f"{path}.content")
        if name is None:
            raise missing_field(f"{path}.name")
        return Message("tool", text, name, tool_call_id=calls.call_id_for(name, f"{path}.name"), pinned=pinned)
    if role == "assistant":
        called = read_tool_calls(fields, path)
        return Message("assistant", _assistant_text(fields, path, bool(called)), name, called, pinned=pinned)
    text = read_content(content, f"{path}.content")
    answered = read_tool_call_id(fields.get("tool_call_id"), f"{path}.tool_call_id") if role == "tool" else None
    return Message(cast("Role", role), text, name, (), answered, pinned)


def _message_fields(entry: dict[str, Any], role: str, path: str) -> dict[str, Any]:
    """The fields that are read of a message; what it echoes of our answers is checked and left out."""
    known_fields = _FIELDS | _ROLE_FIELDS.get(role, set())
    echoed = ECHOED_FIELDS | ECHOED_ASSISTANT_FIELDS if role == "assistant" else ECHOED_FIELDS
    empty = EMPTY_ECHOED_FIELDS if role == "assistant" else ()
    for name in sorted(_ANY_ROLE_FIELDS - known_fields):
        if entry.get(name) is not None:
            raise invalid_field(f"{path}.{name}", f"does not go with the role '{role}'")
    fields = read_object(entry, path, known_fields | echoed.keys() | set(empty))
    for name, kind in echoed.items():
        value = fields.pop(name, None)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not object)):
            raise invalid_field(f"{path}.{name}", "is not of the type that this server sends", "invalid_type")
    for name in empty:
        if not is_blank(fields.pop(name, None)):
            raise invalid_field(f"{path}.{name}", "is not supported; only 'content' is read", "unsupported_value")
    return fields


def _assistant_text(fields: dict[str, Any], path: str, has_calls: bool) -> str:
    """The assistant's content and its refusal: what it said in this message."""
    content, refusal = fields.get("content"), fields.get("refusal")
    if not isinstance(refusal, str | None):
        raise invalid_field(f"{path}.refusal", "must be a string", "invalid_type")
    text = (
        ""
        if content is None and (has_calls or refusal)
        else read_content(content, f"{path}.content", allow_refusals=True)
    )
    return "\n".join(filter(None, (text, refusal)))


def _role(value: Any, path: str) -> str:
    if value is None:
        raise missing_field(path)
    if not isinstance(value, str) or value not in ACCEPTED_ROLES:
        raise invalid_field(path, f"must be one of {', '.join(ACCEPTED_ROLES)}, not {truncate(repr(value))}")
    return value


def _name(value: Any, path: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not 1 <= len(value) <= MAX_IDENTIFIER_CHARS):
        raise invalid_field(path, f"must be a string of 1 to {MAX_IDENTIFIER_CHARS} characters")
    return value


def _pinned(value: Any, path: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise invalid_field(path, f"must be true or false, not {truncate(repr(value))}", "invalid_type")
    return bool(value)
