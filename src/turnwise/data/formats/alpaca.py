"""Alpaca: {"instruction": …, "input": …, "output": …} per line or in one array, with optional system and history."""

from typing import Any

from turnwise.core.messages import Conversation
from turnwise.data.columns import is_pair_row, parse_pair
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import RowError, require_mapping

EXPECTED = '{"instruction": "…", "input": "… or empty", "output": "…"}'
EXAMPLE = """\
[
  {"instruction": "Name the colour.", "input": "A ripe lemon", "output": "Yellow."},
  {"instruction": "And a lime?", "input": "", "output": "Green.", "history": [["A plum?", "Purple."]]}
]
"""


def matches(value: Any) -> float:
    """High if there is an instruction and an output."""
    return 0.9 if is_pair_row(value) and {"instruction", "output"} <= value.keys() else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse one object; the input is appended to the instruction on a new line. Raises `RowError`."""
    row = require_mapping(value)
    if not {"instruction", "output"} <= row.keys():
        raise RowError(f"its keys are {', '.join(map(repr, row)) or 'none'}")
    return parse_pair(row, context)
