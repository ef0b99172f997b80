"""Preferences: {"prompt": …, "chosen": …, "rejected": …} per line or in one array, texts or lists of messages.

Reads what TRL, LLaMA-Factory and OpenAI call preference data. A conversation comes out that ends as was chosen, and
knows how it would have ended otherwise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from turnwise.core.messages import Conversation, Message
from turnwise.data.columns import chat_turns
from turnwise.data.json_rows import json_values
from turnwise.data.rows import Row, RowError, Sample, conversation, mapping, message, meta_of, parsed

PAIRS = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))
PROMPTS = ("prompt", "instruction", "messages", "conversations", "question", "input")
EXPECTED = '{"prompt": "…", "chosen": "…", "rejected": "…"}, each a text or a list of messages'
EXAMPLE = """\
{"prompt": "May I have tea?", "chosen": "With pleasure.", "rejected": "No."}
{"prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "I am late."}], \
"chosen": [{"role": "assistant", "content": "No harm done."}], "rejected": [{"role": "assistant", "content": "So?"}]}
"""


def sniff(sample: Sample) -> float:
    """Sure where the first object has both answers."""
    return 1.0 if sample.record and any(set(pair) <= sample.record.keys() for pair in PAIRS) else 0.0


def read(file: BinaryIO) -> Iterator[Row]:
    """Conversations from JSON lines or one array."""
    return parsed(json_values(file), parse)


def parse(value: Any) -> Conversation:
    """The conversation in one object. Raises `RowError`."""
    row = mapping(value)
    better, worse = next((pair for pair in PAIRS if set(pair) <= row.keys()), PAIRS[0])
    asked = next((key for key in PROMPTS if row.get(key)), None)
    prompt = _prompt(row, asked) if asked else []
    context = "input" if asked == "instruction" and isinstance(row.get("input"), str) and row["input"] else None
    if context:  # Alpaca's pair of columns
        prompt = [message("user", f"{row['instruction']}\n{row['input']}")]
    if row.get("system"):
        prompt = [message("system", row["system"]), *prompt]
    chosen, rejected = ([*prompt, *_answer(row, key, prompt)] for key in (better, worse))
    if chosen == rejected:
        raise RowError("its two answers are the same")
    found = conversation(chosen, meta_of(row, [better, worse, "system", *(key for key in (asked, context) if key)]))
    return replace(found, rejected=tuple(rejected))


def _prompt(row: Mapping[str, Any], key: str) -> list[Message]:
    value = row[key]
    if isinstance(value, dict):  # OpenAI's: {"input": {"messages": […]}}
        value = value.get("messages")
    return [message("user", value)] if isinstance(value, str) else chat_turns(value, key)


def _answer(row: Mapping[str, Any], key: str, prompt: list[Message]) -> list[Message]:
    """What follows the prompt; an answer may be a text, a message, or messages, with the prompt again or without."""
    value = row.get(key)
    if isinstance(value, str) or value is None:
        return [message("assistant", value)]
    turns = chat_turns(value if isinstance(value, list) else [value], key)
    if turns[: len(prompt)] == prompt:
        turns = turns[len(prompt) :]
    if not any(turn.role == "assistant" for turn in turns):
        raise RowError(f"'{key}' holds no assistant turn")
    return turns
