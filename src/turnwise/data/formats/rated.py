"""Rated answers: {"prompt": …, "completion": …, "label": true} per line or in one array, texts or lists of messages.

`label` says whether somebody found the answer good. TRL calls these unpaired preferences.
"""

from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation
from turnwise.data.columns import is_pair_row, parse_pair
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import RowError, parse_rating, require_mapping

LABELS = ("label", "rating", "kto_tag", "thumbs_up")
EXPECTED = '{"prompt": "…", "completion": "…", "label": true or false}'
EXAMPLE = """\
{"prompt": "May I have tea?", "completion": "With pleasure.", "label": true}
{"prompt": "May I have tea?", "completion": "Get it yourself.", "label": false}
"""
_WORDS = {"true": True, "false": False}  # as tables spell them


def matches(value: Any) -> float:
    """Sure where there is a prompt, an answer and a label that is true or false."""
    if not is_pair_row(value):
        return 0.0
    return 0.98 if any(isinstance(_plain(value.get(key)), bool) for key in LABELS) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """The conversation in one object. Raises `RowError`."""
    row = require_mapping(value)
    label = next((key for key in LABELS if row.get(key) is not None), None)
    if label is None:
        raise RowError(f"its keys are {', '.join(map(repr, row)) or 'none'}")
    return replace(parse_pair(row, context, also_used=[label]), rating=parse_rating({label: _plain(row[label])}, label))


def _plain(value: Any) -> Any:
    return _WORDS.get(value.strip().lower(), value) if isinstance(value, str) else value
