"""Pairs: {"prompt": …, "response": …} per line or in one array, or a table with these columns."""

from typing import Any

from turnwise.core.messages import Conversation
from turnwise.data.columns import is_pair_row, parse_pair
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import require_mapping

EXPECTED = '{"prompt": "…", "response": "…"} (or question and answer, user and assistant, input and output)'
EXAMPLE = """\
{"question": "How many legs has a spider?", "answer": "Eight.", "source": "garden"}
{"question": "And an ant?", "answer": "Six."}
"""


def matches(value: Any) -> float:
    """Fairly high for a question and an answer under known names."""
    return 0.7 if is_pair_row(value) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse one object. Raises `RowError`."""
    return parse_pair(require_mapping(value), context)
