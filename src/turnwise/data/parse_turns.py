"""Parses lists of turns in any common notation into messages."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Message
from turnwise.data.parse_context import CALL_SPEAKERS, ROLE_OF_SPEAKER, ParseContext
from turnwise.data.parse_tool_calls import link_tool_results, parse_call_list, parse_calls, parse_hermes_tags
from turnwise.data.rows import RowError, json_type_name, require_mapping, require_text

SPEAKER_KEYS = ("role", "from", "speaker", "author", "sender", "user", "name")
CONTENT_KEYS = ("content", "value", "text", "message", "utterance", "body")
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
PAIR_KEYS = (
    ("input", "output"), ("human", "assistant"), ("user", "assistant"), ("user", "bot"), ("question", "answer"),
    ("prompt", "response"), ("q", "a"), ("instruction", "output"), ("query", "response"),
)  # fmt: skip
TRAINED_KEYS = ("loss", "train", "training", "trainable")  # other trainers' flags; false: do not train on the message
TEXT_PART_TYPES = ("text", "input_text", "output_text")
_TURN_KEYS = frozenset({
    *SPEAKER_KEYS, *CONTENT_KEYS, *REASONING_KEYS, *TRAINED_KEYS, "weight", "tool_calls", "function_call",
    "tool_call_id",
})  # fmt: skip


def is_turn(entry: Any) -> bool:
    """Return True if a value is a turn, or an exchange of a question and its answer."""
    if not isinstance(entry, dict):
        return False
    has_content = _first_key(entry, CONTENT_KEYS) is not None or "tool_calls" in entry or "function_call" in entry
    return (
        bool(has_content and _first_key(entry, SPEAKER_KEYS))
        or _pair_keys(entry) is not None
        or _single_speaker(entry) is not None
    )


def is_turn_list(value: Any) -> bool:
    """Return True if a value is a list that starts with turns."""
    return isinstance(value, list) and bool(value) and all(map(is_turn, value[:2]))


def parse_turns(value: Any, key: str, context: ParseContext) -> list[Message]:
    """Parse the list of turns under `key` into messages. Raises `RowError`."""
    if not isinstance(value, list):
        raise RowError(f"'{key}' is not a list but {json_type_name(value)}")
    if len(value) > 1 and all(isinstance(entry, str) for entry in value):
        return list(_parse_alternating(value, key))
    messages: list[Message] = []
    for number, entry in enumerate(value, start=1):
        messages += _parse_entry(entry, number, key, context)
    return link_tool_results(messages)


def _parse_alternating(texts: Sequence[str], key: str) -> Iterator[Message]:
    """Parse texts without speakers: user and assistant alternate, the user first."""
    for number, text in enumerate(texts):
        yield Message("assistant" if number % 2 else "user", require_text(text, f"entry {number + 1} of '{key}'"))


def _parse_entry(entry: Any, number: int, key: str, context: ParseContext) -> list[Message]:
    """Parse an entry of a list: a pair of texts, a turn, or an exchange."""
    if isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry):
        # A single letter such as "a" is a known speaker, but here more likely a question.
        is_speaker = len(entry[0].strip()) > 1 and entry[0].strip().lower() in ROLE_OF_SPEAKER
        role = context.find_role(entry[0]) if is_speaker else None
        if role:
            return [Message(role, require_text(entry[1], f"message {number}"))]
        return [
            Message("user", require_text(entry[0], f"the question of entry {number} of '{key}'")),
            Message("assistant", require_text(entry[1], f"the answer of entry {number} of '{key}'")),
        ]
    if not isinstance(entry, dict):
        raise RowError(f"entry {number} of '{key}' is {json_type_name(entry)}, not an object with keys")
    if _first_key(entry, SPEAKER_KEYS) is None or (_first_key(entry, CONTENT_KEYS) is None and _pair_keys(entry)):
        pair = _pair_keys(entry)
        if pair is not None:
            return _parse_exchange(entry, pair, number, context)
        if (speaker := _single_speaker(entry)) is not None:
            return [make_message(speaker, entry[speaker], context=context)]
    return [_parse_turn(entry, number, context)]


def _parse_exchange(row: Mapping[str, Any], pair: tuple[str, str], number: int, context: ParseContext) -> list[Message]:
    """Parse an entry with a question and its answer, optionally with a system message.

    Only the first entry, or one with a system message, may have an empty question: then the assistant begins.
    """
    context.count_unread(row, {*pair, "system"}, "messages[].")
    prompt, reply = pair
    messages: list[Message] = []
    if row.get("system"):
        messages.append(Message("system", require_text(row["system"], f"the system message of entry {number}")))
    if row[prompt]:
        messages.append(Message("user", require_text(row[prompt], f"'{prompt}' of entry {number}")))
    elif not messages and number > 1:
        raise RowError(f"'{prompt}' of entry {number} is empty")
    return [*messages, Message("assistant", require_text(row[reply], f"'{reply}' of entry {number}"))]


def _parse_turn(row: Mapping[str, Any], number: int, context: ParseContext) -> Message:
    speaker_key = _first_key(row, SPEAKER_KEYS)
    if speaker_key is None:
        raise RowError(f"message {number} has no speaker ('role' or 'from')")
    speaker = row[speaker_key]
    if isinstance(speaker, dict):
        speaker = next((speaker[key] for key in ("role", "nickname", "name") if key in speaker), None)
    content_key = _first_key(row, CONTENT_KEYS)
    content = join_text_parts(row[content_key], number) if content_key else None
    context.count_unread(row, _TURN_KEYS, "messages[].")
    calls = parse_calls(row, number)
    if isinstance(speaker, str) and speaker.strip().lower() in CALL_SPEAKERS and not calls:
        calls, content = parse_call_list(content, number), ""
    name = row.get("name") if speaker_key != "name" else None
    message = make_message(speaker, content, name, _weight(row), calls, row.get("tool_call_id"), context=context)
    return prepend_reasoning(message, reasoning_of(row)[1])


def _weight(row: Mapping[str, Any]) -> Any:
    """Return the `weight` of a message in the loss; 0 if another trainer's key excludes it."""
    weight = row.get("weight")
    if weight is None and any(row.get(key) in (False, 0) for key in TRAINED_KEYS):
        return 0.0
    return weight


def reasoning_of(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the key and the text of the reasoning in a row; (None, None) without one."""
    for key in REASONING_KEYS:
        if isinstance(row.get(key), str) and row[key].strip():
            return key, row[key]
    return None, None


def prepend_reasoning(reply: Message, reasoning: str | None) -> Message:
    """Put the reasoning before a reply, in the `<think>` tags that reasoning models use."""
    if reply.role != "assistant" or not reasoning or "</think>" in reply.content:
        return reply
    return replace(reply, content=f"<think>\n{reasoning.strip()}\n</think>\n\n{reply.content}")


def make_message(
    speaker: Any, content: Any, name: Any = None, weight: Any = None, calls: Any = (), call_id: Any = None, *,
    context: ParseContext,
) -> Message:  # fmt: skip
    """Create a message from a speaker name; the content stays unchanged. Raises `RowError`."""
    role = context.role(speaker)
    if name is not None and not isinstance(name, str):
        raise RowError(f"the name of a {role} turn is {json_type_name(name)}, not text")
    if weight is None:
        weight = 1.0
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
        raise RowError(f"the weight of a {role} turn is {weight!r}, not a number of at least 0")
    if calls and role != "assistant":
        raise RowError(f"a {role} turn has tool calls, which only the assistant can make")
    if role == "tool" and isinstance(content, dict | list):
        content = json.dumps(content, ensure_ascii=False)
    may_be_empty = (calls and content in (None, "")) or (role == "tool" and content == "")
    if not may_be_empty:
        content = require_text(content, f"the content of {'an' if role == 'assistant' else 'a'} {role} turn")
    message = Message(
        role, content or "", name or None, tuple(calls), call_id if isinstance(call_id, str) and call_id else None,
        weight=float(weight),
    )  # fmt: skip
    return parse_hermes_tags(message)


def join_text_parts(content: Any, number: int) -> Any:
    """Join a list of text parts by line breaks; return other values unchanged. Raises `RowError`."""
    if not isinstance(content, list):
        return content
    texts = []
    for entry in content:
        if isinstance(entry, str):
            texts.append(entry)
            continue
        type = require_mapping(entry).get("type")
        if type not in TEXT_PART_TYPES:
            raise RowError(f"message {number} has a part of type {type!r}, but only text can be trained on")
        texts.append(require_text(entry.get("text"), f"a text part of message {number}"))
    return "\n".join(texts)


def _first_key(row: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first of `keys` in a row; null counts as a value only under `content` and `value`."""
    return next((key for key in keys if key in row and (row[key] is not None or key in ("content", "value"))), None)


def _pair_keys(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the keys of a question and its answer; None if the row is not an exchange."""
    return next((pair for pair in PAIR_KEYS if pair[0] in row and isinstance(row.get(pair[1]), str)), None)


def _single_speaker(row: Mapping[str, Any]) -> str | None:
    """Return the speaker of an entry such as {"user": "Hello"}."""
    key = next(iter(row)) if len(row) == 1 else None
    return key if key is not None and key.strip().lower() in ROLE_OF_SPEAKER and isinstance(row[key], str) else None
