"""The field `messages` of chat completions."""

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
_ROLE_FIELDS = {"assistant": {"function_call", "tool_calls", "refusal"}, "tool": {"tool_call_id"}}
_ANY_ROLE_FIELDS = set().union(*_ROLE_FIELDS.values())

# Fields of our responses, stream chunks and stored messages, and fields that client libraries add. Clients send them
# back with a message. They are type-checked and not shown to the model.
ECHOED_FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": (str, int), "object": str, "created": (int, float), "meta": dict, "parent_id": str, "sibling_ids": list,
}  # fmt: skip
ECHOED_ASSISTANT_FIELDS: dict[str, type | tuple[type, ...]] = {
    "index": int, "finish_reason": str, "logprobs": dict, "reasoning_content": str, "parsed": object,
}  # fmt: skip
# Always empty in our responses. Other values are not supported.
EMPTY_ECHOED_FIELDS = ("annotations", "audio")

MESSAGES_SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "description": "The conversation, oldest message first.",
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
                        "description": "Text parts; joined by line breaks.",
                        "items": {"anyOf": [TEXT_PART_SCHEMA, REFUSAL_PART_SCHEMA]},
                    },
                    {"type": "null", "description": "Only if the assistant calls tools."},
                ]
            },
            "name": {"type": "string", "maxLength": MAX_IDENTIFIER_CHARS},
            "tool_calls": {"type": "array", "items": TOOL_CALL_SCHEMA},
            "tool_call_id": {"type": "string"},
            "function_call": TOOL_CALL_SCHEMA["properties"]["function"],
            "refusal": {"type": ["string", "null"], "description": "Of the assistant; read as its text."},
            "pinned": {
                "type": "boolean",
                "description": "Keep this message and its whole exchange when a context policy drops messages.",
            },
        },
    },
}


def read_messages(value: Any) -> tuple[Message, ...]:
    """Return the messages of a request. Raises `InvalidParameter` with a path such as `messages[2].role`."""
    if not isinstance(value, list):
        raise invalid_field("messages", "must be a list of messages", "invalid_type")
    if not value:
        raise invalid_field("messages", "is empty; send at least one message")
    messages, unanswered_calls = [], UnansweredToolCalls()
    for i, entry in enumerate(value):
        message = _read_message(entry, f"messages[{i}]", unanswered_calls)
        unanswered_calls.add(message, f"messages[{i}]")
        messages.append(message)
    unanswered_calls.check_answered()
    return tuple(messages)


def _read_message(entry: Any, path: str, unanswered_calls: UnansweredToolCalls) -> Message:
    if not isinstance(entry, dict):
        raise invalid_field(path, "must be an object with 'role' and 'content'", "invalid_type")
    role = _read_role(entry.get("role"), f"{path}.role")
    fields = _read_fields(entry, role, path)
    name, pinned = _read_name(fields.get("name"), f"{path}.name"), _read_pinned(fields.get("pinned"), f"{path}.pinned")
    content = fields.get("content")
    if role == "function":
        text = "" if content is None else read_content(content, f"{path}.content")
        if name is None:
            raise missing_field(f"{path}.name")
        call_id = unanswered_calls.call_id_for(name, f"{path}.name")
        return Message("tool", text, name, tool_call_id=call_id, pinned=pinned)
    if role == "assistant":
        tool_calls = read_tool_calls(fields, path)
        text = _read_assistant_text(fields, path, has_calls=bool(tool_calls))
        return Message("assistant", text, name, tool_calls, pinned=pinned)
    text = read_content(content, f"{path}.content")
    tool_call_id = read_tool_call_id(fields.get("tool_call_id"), f"{path}.tool_call_id") if role == "tool" else None
    return Message(cast("Role", role), text, name, (), tool_call_id, pinned)


def _read_fields(entry: dict[str, Any], role: str, path: str) -> dict[str, Any]:
    """The fields of a message without the echoed ones, which are checked and dropped."""
    message_fields = _FIELDS | _ROLE_FIELDS.get(role, set())
    echoed_fields = ECHOED_FIELDS | ECHOED_ASSISTANT_FIELDS if role == "assistant" else ECHOED_FIELDS
    empty_fields = EMPTY_ECHOED_FIELDS if role == "assistant" else ()
    for name in sorted(_ANY_ROLE_FIELDS - message_fields):
        if entry.get(name) is not None:
            raise invalid_field(f"{path}.{name}", f"is not allowed with the role '{role}'")
    fields = read_object(entry, path, message_fields | echoed_fields.keys() | set(empty_fields))
    for name, value_type in echoed_fields.items():
        value = fields.pop(name, None)
        is_bool = isinstance(value, bool) and value_type is not object  # a bool is an int in Python, not in JSON
        if value is not None and (not isinstance(value, value_type) or is_bool):
            raise invalid_field(f"{path}.{name}", "is not of the type that this server sends", "invalid_type")
    for name in empty_fields:
        if not is_blank(fields.pop(name, None)):
            raise invalid_field(f"{path}.{name}", "is not supported; only 'content' is read", "unsupported_value")
    return fields


def _read_assistant_text(fields: dict[str, Any], path: str, *, has_calls: bool) -> str:
    """The assistant's content and refusal, joined."""
    content, refusal = fields.get("content"), fields.get("refusal")
    if not isinstance(refusal, str | None):
        raise invalid_field(f"{path}.refusal", "must be a string", "invalid_type")
    is_absent = content is None and (has_calls or bool(refusal))
    text = "" if is_absent else read_content(content, f"{path}.content", allow_refusals=True)
    return "\n".join(filter(None, (text, refusal)))


def _read_role(value: Any, path: str) -> str:
    if value is None:
        raise missing_field(path)
    if not isinstance(value, str) or value not in ACCEPTED_ROLES:
        raise invalid_field(path, f"must be one of {', '.join(ACCEPTED_ROLES)}, not {truncate(repr(value))}")
    return value


def _read_name(value: Any, path: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not 1 <= len(value) <= MAX_IDENTIFIER_CHARS):
        raise invalid_field(path, f"must be a string of 1 to {MAX_IDENTIFIER_CHARS} characters")
    return value


def _read_pinned(value: Any, path: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise invalid_field(path, f"must be true or false, not {truncate(repr(value))}", "invalid_type")
    return bool(value)
