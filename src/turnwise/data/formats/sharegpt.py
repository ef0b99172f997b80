"""ShareGPT: {"conversations": [{"from": "human", "value": …}, {"from": "gpt", …}]} per line or in one array."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from turnwise.core.messages import Conversation
from turnwise.data.columns import chat_turns
from turnwise.data.json_rows import json_values
from turnwise.data.rows import Row, RowError, Sample, conversation, mapping, message, meta_of, parsed

KEYS = ("conversations", "conversation")
EXPECTED = '{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}'
EXAMPLE = """\
[
  {"id": "walk", "conversations": [
    {"from": "human", "value": "Shall we go for a walk?"},
    {"from": "gpt", "value": "Take an umbrella, it may rain."}
  ]},
  {"id": "tea", "system": "Be polite.", "conversations": [
    {"from": "human", "value": "Tea?"},
    {"from": "gpt", "value": "With pleasure."}
  ]}
]
"""


def sniff(sample: Sample) -> float:
    """Sure where the first object has a list of conversation turns."""
    if any(sample.has_list(key, inner) for key in KEYS for inner in ("from", "role")):
        return 1.0
    return 0.8 if sample.record is not None and "conversations" in sample.record else 0.0


def read(file: BinaryIO) -> Iterator[Row]:
    """Conversations from JSON lines or one array."""
    return parsed(json_values(file), parse)


def parse(value: Any) -> Conversation:
    """The conversation in one object; a `system` beside it opens the dialogue. Raises `RowError`."""
    row = mapping(value)
    key = next((key for key in KEYS if key in row), None)
    if key is None:
        raise RowError("it has no 'conversations'")
    turns = chat_turns(row[key], key)
    if row.get("system"):
        turns.insert(0, message("system", row["system"]))
    return conversation(turns, meta_of(row, [key, "system"]))
