"""Alpaca: {"instruction": …, "input": …, "output": …} per line or in one array, with optional system and history."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from turnwise.core.messages import Conversation
from turnwise.data.json_rows import json_values
from turnwise.data.rows import Row, RowError, Sample, conversation, mapping, meta_of, parsed, text

KEYS = ("instruction", "input", "output", "system", "history")
EXPECTED = '{"instruction": "…", "input": "… or empty", "output": "…"}'
EXAMPLE = """\
[
  {"instruction": "Name the colour.", "input": "A ripe lemon", "output": "Yellow."},
  {"instruction": "And a lime?", "input": "", "output": "Green.", "history": [["A plum?", "Purple."]]}
]
"""


def sniff(sample: Sample) -> float:
    """Sure where the first object has an instruction and an output."""
    return 0.95 if sample.record and {"instruction", "output"} <= sample.record.keys() else 0.0


def read(file: BinaryIO) -> Iterator[Row]:
    """Conversations from JSON lines or one array."""
    return parsed(json_values(file), parse)


def parse(value: Any) -> Conversation:
    """The conversation in one object; the input stands on its own line under the instruction. Raises `RowError`."""
    row = mapping(value)
    question = text(row.get("instruction"), "'instruction'")
    if row.get("input"):
        question += "\n" + text(row["input"], "'input'")
    turns: list[tuple[Any, Any, Any]] = [("system", row["system"], None)] if row.get("system") else []
    for exchange in _history(row.get("history")):
        turns += [("user", exchange[0], None), ("assistant", exchange[1], None)]
    turns += [("user", question, None), ("assistant", text(row.get("output"), "'output'"), None)]
    return conversation(turns, meta_of(row, KEYS))


def _history(value: Any) -> list[list[Any]]:
    if not value:
        return []
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise RowError("'history' is not a list of [question, answer] pairs")
    return value
