"""Reading the `messages` of a request."""

from typing import Any, cast

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.messages import Message, Role
from turnwise.server.calls import CALL_SCHEMA, OpenCalls, read_call_id, read_calls
from turnwise.server.errors import cut

ACCEPTED = ("system", "developer", "user", "assistant", "tool", "function")
MOST_NAME = 64

# What a client sends back of an answer it got from us: fields that are empty in every one of our answers.
_EMPTY_IN_ANSWERS = {"refusal", "annotations", "audio", "parsed"}
_CALLS = {"function_call", "tool_calls"}
_KNOWN = {"role", "content", "name", "pinned"}
_ALSO = {"assistant": _CALLS, "tool": {"tool_call_id"}}

SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "description": "The conversation so far, oldest message first.",
    "items": {
        "type": "object",
        "required": ["role"],
        "additionalProperties": False,
        "properties": {
            "role": {"enum": list(ACCEPTED)},
            "content": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "array",
                        "minItems": 1,
                        "description": "Text parts; they are joined by line breaks.",
                        "items": {
                            "type": "object",
                            "required": ["type", "text"],
                            "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                        },
                    },
                    {"type": "null", "description": "Only where the assistant calls tools instead."},
                ]
            },
            "name": {"type": "string", "maxLength": MOST_NAME},
            "tool_calls": {"type": "array", "items": CALL_SCHEMA},
            "tool_call_id": {"type": "string"},
            "function_call": CALL_SCHEMA["properties"]["function"],
            "pinned": {
                "type": "boolean",
                "description": "Stays, with all of its turn, when older messages are dropped (context_policy).",
            },
        },
    },
}


def read_messages(value: Any) -> tuple[Message, ...]:
    """The request's messages as ours. Raises `InvalidParameter`, naming the place as in `messages[2].role`."""
    if not isinstance(value, list):
        raise _wrong("messages", "must be a list of messages", "invalid_type")
    if not value:
        raise _wrong("messages", "is empty; send at least one message", "invalid_value")
    messages, calls = [], OpenCalls()
    for i, entry in enumerate(value):
        message = _message(entry, f"messages[{i}]", calls)
        calls.follow(message, f"messages[{i}]")
        messages.append(message)
    calls.end()
    return tuple(messages)


def _message(entry: Any, where: str, calls: OpenCalls) -> Message:
    if not isinstance(entry, dict):
        raise _wrong(where, "must be an object with 'role' and 'content'", "invalid_type")
    role = _role(entry.get("role"), f"{where}.role")
    known = _KNOWN | _ALSO.get(role, set())
    for key, said in entry.items():
        if key in known or (key in _EMPTY_IN_ANSWERS | _CALLS and not said and role == "assistant"):
            continue
        if key in _CALLS | {"tool_call_id"}:
            raise _wrong(f"{where}.{key}", f"does not go with the role '{role}'", "invalid_value")
        if key in _EMPTY_IN_ANSWERS:
            raise _wrong(f"{where}.{key}", "is not supported; only 'content' is read", "unsupported_value")
        hint = did_you_mean(cut(key), known)
        raise InvalidParameter(
            f"{where}.{cut(key)}", f"Unknown parameter '{where}.{cut(key)}': {hint}", code="unknown_parameter"
        )
    name, pinned = _name(entry.get("name"), f"{where}.name"), _pinned(entry.get("pinned"), f"{where}.pinned")
    if role == "function":
        content = "" if entry.get("content") is None else _content(entry["content"], f"{where}.content")
        if name is None:
            raise _wrong(f"{where}.name", "is required", "missing_required_parameter")
        return Message("tool", content, name, tool_call_id=calls.id_for(name, f"{where}.name"), pinned=pinned)
    called = read_calls(entry, where) if role == "assistant" else ()
    content = "" if called and entry.get("content") is None else _content(entry.get("content"), f"{where}.content")
    answered = read_call_id(entry.get("tool_call_id"), f"{where}.tool_call_id") if role == "tool" else None
    return Message(cast("Role", role), content, name, called, answered, pinned)


def _role(said: Any, where: str) -> str:
    if said is None:
        raise _wrong(where, "is required", "missing_required_parameter")
    if not isinstance(said, str) or said not in ACCEPTED:
        raise _wrong(where, f"must be one of {', '.join(ACCEPTED)}, not {cut(repr(said))}", "invalid_value")
    return said


def _name(said: Any, where: str) -> str | None:
    if said is None:
        return None
    if not isinstance(said, str) or not 1 <= len(said) <= MOST_NAME:
        raise _wrong(where, f"must be a string of 1 to {MOST_NAME} characters", "invalid_value")
    return said


def _pinned(said: Any, where: str) -> bool:
    if said is not None and not isinstance(said, bool):
        raise _wrong(where, f"must be true or false, not {cut(repr(said))}", "invalid_type")
    return bool(said)


def _content(said: Any, where: str) -> str:
    if isinstance(said, str):
        return said
    if said is None:
        raise _wrong(where, "is required", "missing_required_parameter")
    if not isinstance(said, list) or not said:
        raise _wrong(where, "must be a string, or a list of text parts that is not empty", "invalid_type")
    return "\n".join(_part(part, f"{where}[{i}]") for i, part in enumerate(said))


def _part(part: Any, where: str) -> str:
    if not isinstance(part, dict):
        raise _wrong(where, 'must be an object like {"type": "text", "text": …}', "invalid_type")
    kind = part.get("type")
    if kind != "text":
        raise _wrong(f"{where}.type", f"must be 'text', not {cut(repr(kind))}: the models here read text only",
                     "unsupported_value")  # fmt: skip
    if extra := part.keys() - {"type", "text"}:
        name = cut(min(extra))
        raise InvalidParameter(f"{where}.{name}", f"Unknown parameter '{where}.{name}': known: text, type",
                               code="unknown_parameter")  # fmt: skip
    if not isinstance(part.get("text"), str):
        raise _wrong(f"{where}.text", "must be a string", "invalid_type")
    return str(part["text"])


def _wrong(where: str, what: str, code: str) -> InvalidParameter:
    return InvalidParameter(where, f"'{where}' {what}.", code=code)
