"""Rated answers: {"prompt": …, "completion": …, "label": true} per line or in one array, texts or lists of messages.

`label` is true if a person rated the answer as good. TRL calls this format unpaired preference.
"""

from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation
from turnwise.data.columns import is_pair_row, parse_pair
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import RowError, parse_rating, require_mapping

RATING_KEYS = ("label", "rating", "kto_tag", "thumbs_up")
EXPECTED = '{"prompt": "…", "completion": "…", "label": true or false}'
EXAMPLE = """\
{"prompt": "May I have tea?", "completion": "With pleasure.", "label": true}
{"prompt": "May I have tea?", "completion": "Get it yourself.", "label": false}
"""
_BOOLEANS = {"true": True, "false": False}  # in the cells of a table


def matches(value: Any) -> float:
    """High if there is a prompt, an answer and a label that is true or false."""
    if not is_pair_row(value):
        return 0.0
    return 0.98 if any(isinstance(_decode_boolean(value.get(key)), bool) for key in RATING_KEYS) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse one object. Raises `RowError`."""
    row = require_mapping(value)
    key = next((key for key in RATING_KEYS if row.get(key) is not None), None)
    if key is None:
        raise RowError(f"its keys are {', '.join(map(repr, row)) or 'none'}")
    conversation = parse_pair(row, context, also_used=[key])
    return replace(conversation, rating=parse_rating({key: _decode_boolean(row[key])}, key))


def _decode_boolean(value: Any) -> Any:
    return _BOOLEANS.get(value.strip().lower(), value) if isinstance(value, str) else value
