"""Preferences: {"prompt": …, "chosen": …, "rejected": …} per line or in one array, texts or lists of messages.

Covers the preference data of TRL, LLaMA-Factory and OpenAI, and Anthropic's pairs of complete transcripts. The result
is a conversation with the chosen answer, and with the other answer in `rejected`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.columns import is_message_value, parse_prompt, strip_answer
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_tool_calls import TOOL_KEYS, parse_tools
from turnwise.data.parse_turns import make_message, parse_turns
from turnwise.data.rows import RowError, make_conversation, require_mapping
from turnwise.data.transcripts import split_transcript

ANSWER_KEYS = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))
PROMPT_KEYS = ("prompt", "instruction", "messages", "conversations", "question", "input", "query")
EXPECTED = '{"prompt": "…", "chosen": "…", "rejected": "…"}, each a text or a list of messages'
EXAMPLE = """\
{"prompt": "May I have tea?", "chosen": "With pleasure.", "rejected": "No."}
{"prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "I am late."}], \
"chosen": [{"role": "assistant", "content": "No harm done."}], "rejected": [{"role": "assistant", "content": "So?"}]}
"""


def matches(value: Any) -> float:
    """Certain if there are two answers."""
    if not isinstance(value, dict):
        return 0.0
    return 1.0 if any(set(pair) <= value.keys() and is_message_value(value[pair[0]]) for pair in ANSWER_KEYS) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse one object. Raises `RowError`."""
    row = require_mapping(value)
    answer_keys = next((pair for pair in ANSWER_KEYS if set(pair) <= row.keys()), ANSWER_KEYS[0])
    prompt, used = _parse_shared_prompt(row, context)
    chosen, rejected = ([*prompt, *_parse_answer(row, key, prompt, context)] for key in answer_keys)
    if chosen == rejected:
        raise RowError("its two answers are the same")
    used |= {*answer_keys, *(key for key in TOOL_KEYS if row.get(key))}
    conversation = make_conversation(chosen, context.metadata_of(row, used))
    return replace(conversation, rejected=tuple(rejected), tools=parse_tools(row))


def _parse_shared_prompt(row: Mapping[str, Any], context: ParseContext) -> tuple[list[Message], set[str]]:
    """Return the messages before both answers, and the keys they come from."""
    key = next((key for key in PROMPT_KEYS if row.get(key)), None)
    if key is None:
        return [], {"system"} & row.keys()
    value = row[key]
    if isinstance(value, dict) and "messages" in value:  # OpenAI: {"input": {"messages": […]}}
        value, key = value["messages"], "input"
        row = {**row, key: value}
    return parse_prompt(row, key, context)


def _prompt_text(row: Mapping[str, Any]) -> Any:
    return next((row[key] for key in PROMPT_KEYS if row.get(key)), None)


def _parse_answer(row: Mapping[str, Any], key: str, prompt: list[Message], context: ParseContext) -> list[Message]:
    """Return the messages after the prompt. An answer is a text, a message or messages, and may repeat the prompt."""
    value = row.get(key)
    if isinstance(value, str) or value is None:
        turns = split_transcript(value) if value else None
        # A transcript that does not repeat the prompt is an answer in the form of a dialogue, such as a written scene.
        if turns is None or (prompt and turns[: len(prompt)] != prompt):
            return [make_message("assistant", strip_answer(_prompt_text(row), value), context=context)]
    else:
        turns = parse_turns(value if isinstance(value, list) else [value], key, context)
    if turns[: len(prompt)] == prompt:
        turns = turns[len(prompt) :]
    if not any(turn.role == "assistant" for turn in turns):
        raise RowError(f"'{key}' holds no assistant turn")
    return turns
