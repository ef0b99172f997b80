"""Rows of stored answers: messages of the assistant, and choices of completions."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from turnwise.core.access import Principal
from turnwise.core.collected_answers import CONSENTS, Consent
from turnwise.core.conversation_keys import opening_key, stored_conversation_key
from turnwise.core.errors import InvalidParameter, NotFound
from turnwise.core.feedback import AnswerKind, AnswerReference
from turnwise.core.messages import Message, Role, ToolCall, ToolKind
from turnwise.store.sqlite.ownership import own_records

CONSENT_META, USER_META, EDITED_META = "consent", "user", "edited"  # keys in the `meta` of a message
_FULL = {"message": "json_extract(meta, '$.consent') = 'full'", "completion": "consent = 'full'"}
_ROLES = frozenset(get_args(Role))


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """Which row an answer is, and what is recorded about it. Attributes: see `core.feedback.Feedback`."""

    number: int
    consent: Consent | None
    version: str
    weights_sha256: str


def find_answer(
    connection: sqlite3.Connection, answer: AnswerReference, principal: Principal, *, is_review: bool = False
) -> AnswerRow:
    """The row of an own answer; for a review, also that of another owner with the consent "full".

    Raises:
        NotFound: there is none.
        InvalidParameter: the message is not of the assistant, or the completion has no such choice.
    """
    condition, values = own_records(principal)
    if is_review and principal.answers_handoffs:
        condition = f"({condition} OR {_FULL[answer.kind]})"
    if answer.kind == "message":
        query = (
            "SELECT messages.number, json_extract(meta, '$.consent'), json_extract(meta, '$.version'),"  # noqa: S608
            " json_extract(meta, '$.weights'), role = 'assistant' FROM messages"
            f" JOIN conversations ON conversations.number = conversation WHERE messages.id = ? AND {condition}"
        )
    else:
        query = (
            "SELECT number, consent, version, weights, json_array_length(response, '$.choices') FROM completions"  # noqa: S608
            f" WHERE id = ? AND {condition}"
        )
    row = connection.execute(query, (answer.id, *values)).fetchone()
    if row is None:
        noun, verb = ("message", "written") if answer.kind == "message" else ("stored completion", "stored")
        raise NotFound(f"There is no {noun} '{answer.id[:60]}'; it was not {verb}, or it was deleted.")
    number, consent, version, weights, num_choices = row
    if answer.kind == "message" and not num_choices:
        raise InvalidParameter("message_id", "Feedback is for messages of the assistant; this is another message.")
    if answer.index >= (num_choices or 0):
        raise InvalidParameter(
            "index", f"'index' is {answer.index}; the last choice has the index {(num_choices or 0) - 1}."
        )
    known_consent: Consent | None = consent if consent in CONSENTS else None
    return AnswerRow(number, known_consent, str(version or ""), str(weights or ""))


def load_conversation_key(connection: sqlite3.Connection, kind: AnswerKind, number: int) -> tuple[bool, str]:
    """Whether the request of an answer was routed to a version, and the key of its conversation."""
    if kind == "message":
        query = (
            "SELECT COALESCE(json_extract(meta, '$.routed'), 1), conversations.id FROM messages"
            " JOIN conversations ON conversations.number = conversation WHERE messages.number = ?"
        )
        is_routed, id = connection.execute(query, (number,)).fetchone()
        return bool(is_routed), stored_conversation_key(id)
    query = "SELECT is_routed, owner, user, messages FROM completions WHERE number = ?"
    is_routed, owner, user, messages = connection.execute(query, (number,)).fetchone()
    return bool(is_routed), opening_key(owner, user, tuple(map(request_message, json.loads(messages))))


def request_message(fields: Mapping[str, Any]) -> Message:
    """A message of a stored request or response in OpenAI's format. Only texts of parts are read."""
    content = fields.get("content")
    if isinstance(content, list):
        content = "\n".join(str(entry.get("text", "")) for entry in content if isinstance(entry, dict))
    calls = [*(fields.get("tool_calls") or ())]
    if function_call := fields.get("function_call"):
        calls.append({"id": "", "type": "function", "function": function_call})
    role: Role = fields["role"] if fields.get("role") in _ROLES else "tool"  # "tool": the old role "function"
    name, call_id = fields.get("name"), fields.get("tool_call_id")
    return Message(
        role, str(content or ""), name if isinstance(name, str) else None, tuple(map(_tool_call, calls)),
        call_id if isinstance(call_id, str) else None,
    )  # fmt: skip


def _tool_call(call: Mapping[str, Any]) -> ToolCall:
    kind: ToolKind = "custom" if call.get("type") == "custom" else "function"
    body = call.get(kind) or {}
    text = body.get("input" if kind == "custom" else "arguments", "")
    return ToolCall(str(call.get("id") or ""), str(body.get("name", "")), str(text), kind)


def tags_from_json(text: str) -> tuple[str, ...]:
    """Tags of a row."""
    tags: Sequence[str] = json.loads(text)
    return tuple(tags)
