"""Parses lists of turns in any common spelling into messages."""

import json
from collections.abc import Iterator, Mapping, Sequence
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
LEARNED_KEYS = ("loss", "train", "training", "trainable")  # whether a message is learned, as other trainers have it
TEXT_PARTS = ("text", "input_text", "output_text")
_READ = frozenset({
    *SPEAKER_KEYS, *CONTENT_KEYS, *REASONING_KEYS, *LEARNED_KEYS, "weight", "tool_calls", "function_call",
    "tool_call_id",
})  # fmt: skip


def is_turn(entry: Any) -> bool:
    """Return True if a value is a turn, or an exchange of a question and its answer."""
    if not isinstance(entry, dict):
        return False
    has_content = _first(entry, CONTENT_KEYS) is not None or "tool_calls" in entry or "function_call" in entry
    return (
        bool(has_content and _first(entry, SPEAKER_KEYS)) or _pair(entry) is not None or _only_role(entry) is not None
    )


def is_turn_list(value: Any) -> bool:
    """Return True if a value is a list that starts with turns."""
    return isinstance(value, list) and bool(value) and all(map(is_turn, value[:2]))


def parse_turns(value: Any, what: str, context: ParseContext) -> list[Message]:
    """Parse a list of turns into messages. Raises `RowError`."""
    if not isinstance(value, list):
        raise RowError(f"'{what}' is not a list but {json_type_name(value)}")
    if len(value) > 1 and all(isinstance(entry, str) for entry in value):
        return list(_alternating(value, what))
    messages: list[Message] = []
    for number, entry in enumerate(value, start=1):
        messages += _entry(entry, number, what, context)
    return link_tool_results(messages)


def _alternating(texts: Sequence[str], what: str) -> Iterator[Message]:
    """Parse texts without speakers: user and assistant alternate, the user first."""
    for number, entry in enumerate(texts):
        yield Message("assistant" if number % 2 else "user", require_text(entry, f"entry {number + 1} of '{what}'"))


def _entry(entry: Any, number: int, what: str, context: ParseContext) -> list[Message]:
    if isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry):
        # Letters such as "a" may be a question, too.
        is_speaker = len(entry[0].strip()) > 1 and entry[0].strip().lower() in ROLE_OF_SPEAKER
        role = context.find_role(entry[0]) if is_speaker else None
        if role:
            return [Message(role, require_text(entry[1], f"message {number}"))]
        return [
            Message("user", require_text(entry[0], f"the question of entry {number} of '{what}'")),
            Message("assistant", require_text(entry[1], f"the answer of entry {number} of '{what}'")),
        ]
    if not isinstance(entry, dict):
        raise RowError(f"entry {number} of '{what}' is {json_type_name(entry)}, not an object with keys")
    row = entry
    if _first(row, SPEAKER_KEYS) is None or (_first(row, CONTENT_KEYS) is None and _pair(row)):
        pair = _pair(row)
        if pair is not None:
            return _exchange(row, pair, number, context)
        if (role_key := _only_role(row)) is not None:
            return [make_message(role_key, row[role_key], context=context)]
    return [_turn(row, number, context)]


def _exchange(row: Mapping[str, Any], pair: tuple[str, str], number: int, context: ParseContext) -> list[Message]:
    """Parse an entry with a question and its answer, optionally with a system message."""
    context.count_unread(row, {*pair, "system"}, "messages[].")
    first = (
        [Message("system", require_text(row["system"], f"the system message of entry {number}"))]
        if row.get("system")
        else []
    )
    if not first and not row[pair[0]] and number > 1:
        raise RowError(f"'{pair[0]}' of entry {number} is empty")
    question = [Message("user", require_text(row[pair[0]], f"'{pair[0]}' of entry {number}"))] if row[pair[0]] else []
    return [*first, *question, Message("assistant", require_text(row[pair[1]], f"'{pair[1]}' of entry {number}"))]


def _turn(row: Mapping[str, Any], number: int, context: ParseContext) -> Message:
    speaker_key = _first(row, SPEAKER_KEYS)
    if speaker_key is None:
        raise RowError(f"message {number} does not say whose it is ('role' or 'from')")
    speaker = row[speaker_key]
    if isinstance(speaker, dict):
        speaker = next((speaker[key] for key in ("role", "nickname", "name") if key in speaker), None)
    content_key = _first(row, CONTENT_KEYS)
    content = join_text_parts(row[content_key], number) if content_key else None
    context.count_unread(row, _READ, "messages[].")
    calls = parse_calls(row, number)
    if isinstance(speaker, str) and speaker.strip().lower() in CALL_SPEAKERS and not calls:
        calls, content = parse_call_list(content, number), ""
    name = row.get("name") if speaker_key != "name" else None
    reasoning = next((row[key] for key in REASONING_KEYS if isinstance(row.get(key), str) and row[key].strip()), None)
    result = make_message(speaker, content, name, _weight(row), calls, row.get("tool_call_id"), context=context)
    return with_reasoning(result, reasoning)


def _weight(row: Mapping[str, Any]) -> Any:
    """How much a message is learned: its `weight`, or 0 where another trainer's key says that it is not."""
    weight = row.get("weight")
    if weight is None and any(row.get(key) in (False, 0) for key in LEARNED_KEYS):
        return 0.0
    return weight


def with_reasoning(reply: Message, reasoning: str | None) -> Message:
    """Put the reasoning before a reply, in the `<think>` tags that reasoning models use."""
    if reply.role != "assistant" or not reasoning or "</think>" in reply.content:
        return reply
    return Message(
        reply.role, f"<think>\n{reasoning.strip()}\n</think>\n\n{reply.content}", reply.name, reply.tool_calls,
        reply.tool_call_id, reply.pinned, reply.weight,
    )  # fmt: skip


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
    if not (calls and content in (None, "")) and not (role == "tool" and content == ""):
        content = require_text(content, f"the content of {'an' if role == 'assistant' else 'a'} {role} turn")
    made = Message(
        role, content or "", name or None, tuple(calls), call_id if isinstance(call_id, str) and call_id else None,
        weight=float(weight),
    )  # fmt: skip
    return parse_hermes_tags(made)


def join_text_parts(content: Any, number: int) -> Any:
    """Join a list of text parts by line breaks; return other values unchanged. Raises `RowError`."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = require_mapping(part).get("type")
        if kind not in TEXT_PARTS:
            raise RowError(f"message {number} has a part of type {kind!r}, and only text can be learned")
        texts.append(require_text(part.get("text"), f"a text part of message {number}"))
    return "\n".join(texts)


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((key for key in keys if key in row and (row[key] is not None or key in ("content", "value"))), None)


def _pair(row: Mapping[str, Any]) -> tuple[str, str] | None:
    return next((pair for pair in PAIR_KEYS if pair[0] in row and isinstance(row.get(pair[1]), str)), None)


def _only_role(row: Mapping[str, Any]) -> str | None:
    """Return the speaker of an entry such as {"user": "Hello"}."""
    key = next(iter(row)) if len(row) == 1 else None
    return key if key is not None and key.strip().lower() in ROLE_OF_SPEAKER and isinstance(row[key], str) else None
