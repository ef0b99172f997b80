"""Preferences: {"prompt": …, "chosen": …, "rejected": …} per line or in one array, texts or lists of messages.

Reads what TRL, LLaMA-Factory and OpenAI call preference data, and Anthropic's pairs of whole transcripts. A
conversation comes out that ends as was chosen, and knows how it would have ended otherwise.
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

PAIRS = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))
LISTS = ("messages", "conversations")
PROMPTS = ("prompt", "instruction", *LISTS, "question", "input", "query")
EXPECTED = '{"prompt": "…", "chosen": "…", "rejected": "…"}, each a text or a list of messages'
EXAMPLE = """\
{"prompt": "May I have tea?", "chosen": "With pleasure.", "rejected": "No."}
{"prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "I am late."}], \
"chosen": [{"role": "assistant", "content": "No harm done."}], "rejected": [{"role": "assistant", "content": "So?"}]}
"""


def matches(value: Any) -> float:
    """Sure where there are both answers."""
    if not isinstance(value, dict):
        return 0.0
    return 1.0 if any(set(pair) <= value.keys() and is_message_value(value[pair[0]]) for pair in PAIRS) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """The conversation in one object. Raises `RowError`."""
    row = require_mapping(value)
    better, worse = next((pair for pair in PAIRS if set(pair) <= row.keys()), PAIRS[0])
    prompt, used = _prompt(row, context)
    chosen, rejected = ([*prompt, *_answer(row, key, prompt, context)] for key in (better, worse))
    if chosen == rejected:
        raise RowError("its two answers are the same")
    used |= {better, worse, *(key for key in TOOL_KEYS if row.get(key))}
    found = make_conversation(chosen, context.metadata_of(row, used))
    return replace(found, rejected=tuple(rejected), tools=parse_tools(row))


def _prompt(row: Mapping[str, Any], context: ParseContext) -> tuple[list[Message], set[str]]:
    """What both answers follow, and the keys it was read from."""
    key = next((key for key in PROMPTS if row.get(key)), None)
    if key is None:
        return [], {"system"} & row.keys()
    value = row[key]
    if isinstance(value, dict) and "messages" in value:  # OpenAI's: {"input": {"messages": […]}}
        value, key = value["messages"], "input"
        row = {**row, key: value}
    return parse_prompt(row, key, context)


def _prompt_text(row: Mapping[str, Any]) -> Any:
    return next((row[key] for key in PROMPTS if row.get(key)), None)


def _answer(row: Mapping[str, Any], key: str, prompt: list[Message], context: ParseContext) -> list[Message]:
    """What follows the prompt; an answer may be a text, a message, or messages, with the prompt again or without."""
    value = row.get(key)
    if isinstance(value, str) or value is None:
        turns = split_transcript(value) if value else None
        # After a prompt, a text with speakers is an answer that writes a scene, unless it repeats the prompt.
        if turns is None or (prompt and turns[: len(prompt)] != prompt):
            return [make_message("assistant", strip_answer(_prompt_text(row), value), context=context)]
    else:
        turns = parse_turns(value if isinstance(value, list) else [value], key, context)
    if turns[: len(prompt)] == prompt:
        turns = turns[len(prompt) :]
    if not any(turn.role == "assistant" for turn in turns):
        raise RowError(f"'{key}' holds no assistant turn")
    return turns
