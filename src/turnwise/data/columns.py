"""Rows with one question and its answer: known column names, and parsing into a conversation."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_tool_calls import TOOL_KEYS, extract_hermes_tools, parse_tools
from turnwise.data.parse_turns import REASONING_KEYS, is_turn, make_message, parse_turns, with_reasoning
from turnwise.data.rows import RowError, make_conversation, require_text
from turnwise.data.transcripts import split_prompt

# If a row has several of these columns, the earliest name wins.
PROMPTS = ("prompt", "question", "user", "instruction", "input", "human", "query", "context")
REPLIES = ("response", "answer", "assistant", "output", "reply", "completion", "gpt", "bot")
LABELS = ("label", "labels", "intent", "category", "class", "sentiment", "target")
SYSTEM = ("system", "system_prompt", "system_message")
HISTORY = ("history",)
# Columns with more of the question; they are appended to the prompt on a new line.
FURTHER = ("input", "query", "context")
_WITH_FURTHER = ("prompt", "question", "instruction")
EXPECTED = (
    "columns such as prompt and response (or question and answer, user and assistant, instruction and output), "
    "or conversation_id, role and content with one message per row"
)


def find_column(names: Iterable[str], known: Sequence[str]) -> str | None:
    """Return the column in `names` that comes first in `known`, ignoring case; None without a match."""
    by_lower = {str(name).strip().lower(): name for name in reversed(list(names))}
    return next((by_lower[name] for name in known if name in by_lower), None)


def is_pair(names: Collection[str]) -> bool:
    """Return True if the columns include a question and its answer."""
    prompt, reply = find_column(names, PROMPTS), find_column(names, REPLIES)
    return prompt is not None and reply is not None and prompt != reply


def is_pair_row(value: Any) -> bool:
    """Return True if a value is a row with a question and its answer, and not a table of columns."""
    if not isinstance(value, dict):
        return False
    prompt, reply = find_column(value, PROMPTS), find_column(value, REPLIES)
    return (
        prompt is not None
        and reply is not None
        and prompt != reply
        and is_message_value(value[prompt])
        and is_message_value(value[reply])
    )


def is_message_value(value: Any) -> bool:
    """Return True if a value may be message content: a text, a message, or a list of messages."""
    if isinstance(value, list):
        return len(value) <= 1 or is_turn(value[0])
    return not isinstance(value, dict) or is_turn(value)


def parse_pair(row: Mapping[str, Any], context: ParseContext, *, also_used: Collection[str] = ()) -> Conversation:
    """Parse a row with a question and its answer into a conversation. Raises `RowError`.

    Args:
        row: may also hold a system message, earlier turns, further text of the question, tools and reasoning.
        context: of the file.
        also_used: keys that the caller reads.
    """
    prompt, reply = find_column(row, PROMPTS), find_column(row, REPLIES)
    if prompt is None or reply is None:
        raise RowError(f"its keys are {', '.join(map(repr, row)) or 'none'}")
    before, used = parse_prompt(row, prompt, context)
    reasoning = next((key for key in REASONING_KEYS if isinstance(row.get(key), str) and row[key].strip()), None)
    answer = _turns(answer_to(row.get(prompt), row.get(reply)), "assistant", reply, context)
    if reasoning:
        answer[-1] = with_reasoning(answer[-1], row[reasoning])
    used |= {reply, *also_used, *([reasoning] if reasoning else [])}
    messages, tools = extract_hermes_tools([*before, *answer])
    found = make_conversation(messages, context.metadata_of(row, used))
    return replace(found, tools=parse_tools(row) or tools)


def parse_prompt(row: Mapping[str, Any], prompt: str, context: ParseContext) -> tuple[list[Message], set[str]]:
    """Return the messages before the answer, and the keys they come from. Raises `RowError`."""
    system, history = find_column(row, SYSTEM), find_column(row, HISTORY)
    used = {prompt, *(key for key in TOOL_KEYS if row.get(key))}
    turns = _turns(row.get(prompt), "user", prompt, context)
    if prompt.strip().lower() in _WITH_FURTHER:
        for name in FURTHER:
            key = find_column(row, (name,))
            if key is None or key == prompt:
                continue
            value = row[key]
            if not value:
                used.add(key)
            elif isinstance(value, str):
                turns[-1] = replace(turns[-1], content=f"{turns[-1].content}\n{require_text(value, repr(key))}")
                used.add(key)
            elif isinstance(value, list) and history is None and name == "context":
                history = key
    earlier: list[Message] = []
    if history is not None:
        used.add(history)
        if row[history]:
            earlier = parse_turns(row[history], history, context)
            if len(earlier) % 2 and isinstance(row[history][0], str):
                raise RowError(f"'{history}' is not a list of [question, answer] pairs")
    if system is not None:
        used.add(system)
        if row[system]:
            earlier.insert(0, make_message("system", row[system], context=context))
    return [*earlier, *turns], used


def _turns(value: Any, speaker: str, key: str, context: ParseContext) -> list[Message]:
    """Parse a prompt or answer: a text (possibly a transcript), a message, or a list of messages."""
    if isinstance(value, list) and value and is_turn(value[0]):
        return parse_turns(value, key, context)
    if is_turn(value):
        return parse_turns([value], key, context)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    content = require_text(value, f"'{key}'")
    if speaker == "user" and (turns := split_prompt(content)):
        return turns
    return [Message("user" if speaker == "user" else "assistant", content)]


def answer_to(prompt: Any, answer: Any) -> Any:
    """The answer without the space that stood between it and the marker that a written-out prompt ends with."""
    is_written_out = isinstance(answer, str) and isinstance(prompt, str) and split_prompt(prompt) is not None
    return answer.strip() if is_written_out else answer
