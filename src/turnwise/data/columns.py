"""Rows with one question and its answer: known column names, and parsing into a conversation."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation, Message, Role
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_tool_calls import TOOL_KEYS, extract_hermes_tools, parse_tools
from turnwise.data.parse_turns import is_turn, make_message, parse_turns, prepend_reasoning, reasoning_of
from turnwise.data.rows import RowError, make_conversation, require_text
from turnwise.data.transcripts import split_prompt

# If a row has several of these columns, the earliest name wins.
PROMPT_COLUMNS = ("prompt", "question", "user", "instruction", "input", "human", "query", "context")
REPLY_COLUMNS = ("response", "answer", "assistant", "output", "reply", "completion", "gpt", "bot")
LABEL_COLUMNS = ("label", "labels", "intent", "category", "class", "sentiment", "target")
SYSTEM_COLUMNS = ("system", "system_prompt", "system_message")
HISTORY_COLUMNS = ("history",)
# Columns with more of the question; they are appended to the prompt on a new line.
QUESTION_SUFFIX_COLUMNS = ("input", "query", "context")
_PROMPTS_WITH_SUFFIX = ("prompt", "question", "instruction")


def find_column(names: Iterable[str], candidates: Sequence[str]) -> str | None:
    """Return the column in `names` that comes first in `candidates`, ignoring case; None without a match."""
    by_lower = {str(name).strip().lower(): name for name in reversed(list(names))}
    return next((by_lower[name] for name in candidates if name in by_lower), None)


def is_pair(names: Collection[str]) -> bool:
    """Return True if the columns include a question and its answer."""
    prompt, reply = find_column(names, PROMPT_COLUMNS), find_column(names, REPLY_COLUMNS)
    return prompt is not None and reply is not None and prompt != reply


def is_pair_row(value: Any) -> bool:
    """Return True if a value is a row with a question and its answer, and not a table of columns."""
    if not isinstance(value, dict):
        return False
    prompt, reply = find_column(value, PROMPT_COLUMNS), find_column(value, REPLY_COLUMNS)
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
    prompt, reply = find_column(row, PROMPT_COLUMNS), find_column(row, REPLY_COLUMNS)
    if prompt is None or reply is None:
        raise RowError(f"its keys are {', '.join(map(repr, row)) or 'none'}")
    question, used = parse_prompt(row, prompt, context)
    reasoning_key, reasoning = reasoning_of(row)
    answer = _parse_message_value(strip_answer(row.get(prompt), row.get(reply)), "assistant", reply, context)
    answer[-1] = prepend_reasoning(answer[-1], reasoning)
    used |= {reply, *also_used, *([reasoning_key] if reasoning_key else [])}
    messages, tools = extract_hermes_tools([*question, *answer])
    conversation = make_conversation(messages, context.metadata_of(row, used))
    return replace(conversation, tools=parse_tools(row) or tools)


def parse_prompt(row: Mapping[str, Any], prompt: str, context: ParseContext) -> tuple[list[Message], set[str]]:
    """Return the messages before the answer, and the keys they come from. Raises `RowError`."""
    system, history = find_column(row, SYSTEM_COLUMNS), find_column(row, HISTORY_COLUMNS)
    used = {prompt, *(key for key in TOOL_KEYS if row.get(key))}
    question = _parse_message_value(row.get(prompt), "user", prompt, context)
    if prompt.strip().lower() in _PROMPTS_WITH_SUFFIX:
        for name in QUESTION_SUFFIX_COLUMNS:
            key = find_column(row, (name,))
            if key is None or key == prompt:
                continue
            value = row[key]
            if not value:
                used.add(key)
            elif isinstance(value, str):
                question[-1] = replace(
                    question[-1], content=f"{question[-1].content}\n{require_text(value, repr(key))}"
                )
                used.add(key)
            elif isinstance(value, list) and history is None and name == "context":
                history = key  # a list of earlier turns, not a passage of text
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
    return [*earlier, *question], used


def _parse_message_value(value: Any, role: Role, key: str, context: ParseContext) -> list[Message]:
    """Parse a prompt or answer: a text (possibly a transcript), a message, or a list of messages."""
    if isinstance(value, list) and value and is_turn(value[0]):
        return parse_turns(value, key, context)
    if is_turn(value):
        return parse_turns([value], key, context)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    content = require_text(value, f"'{key}'")
    if role == "user" and (turns := split_prompt(content)):
        return turns
    return [Message(role, content)]


def strip_answer(prompt: Any, answer: Any) -> Any:
    """Return the answer, without the space after the last marker of the prompt if that is a transcript."""
    is_transcript = isinstance(answer, str) and isinstance(prompt, str) and split_prompt(prompt) is not None
    return answer.strip() if is_transcript else answer
