"""Rated answers: {"prompt": …, "completion": …, "label": true} per line or in one array, texts or lists of messages.

`label` says whether somebody found the answer good. TRL calls these unpaired preferences.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, cast

from turnwise.core.messages import Conversation, Message
from turnwise.data import columns
from turnwise.data.json_rows import json_values
from turnwise.data.rows import Row, RowError, Sample, conversation, mapping, message, meta_of, parsed, rating

LABELS = ("label", "rating", "kto_tag", "thumbs_up")
EXPECTED = '{"prompt": "…", "completion": "…", "label": true or false}'
EXAMPLE = """\
{"prompt": "May I have tea?", "completion": "With pleasure.", "label": true}
{"prompt": "May I have tea?", "completion": "Get it yourself.", "label": false}
"""


def sniff(sample: Sample) -> float:
    """Sure where the first object has a prompt, an answer and a label that is true or false."""
    row = sample.record
    if not row or not columns.is_known([str(key) for key in row]):
        return 0.0
    return 0.98 if any(isinstance(row.get(key), bool) for key in LABELS) else 0.0


def read(file: BinaryIO) -> Iterator[Row]:
    """Conversations from JSON lines or one array."""
    return parsed(json_values(file), parse)


def parse(value: Any) -> Conversation:
    """The conversation in one object. Raises `RowError`."""
    row = mapping(value)
    asked, said = columns.find(row, columns.PROMPTS), columns.find(row, columns.REPLIES)
    label = next((key for key in LABELS if row.get(key) is not None), None)
    if not asked or not said or not label:
        raise RowError(f"its keys are {', '.join(map(repr, row)) or 'none'}")
    if isinstance(row[asked], str):  # one question and its answer, as in other tables
        found = columns.pair_parser([str(key) for key in row])({key: row[key] for key in row if key != label})
        return replace(cast(Conversation, found), rating=rating(row, label))
    turns = [*_turns(row[asked], "user", asked), *_turns(row[said], "assistant", said)]
    return replace(conversation(turns, meta_of(row, [asked, said, label])), rating=rating(row, label))


def _turns(value: Any, speaker: str, key: str) -> list[Message]:
    return columns.chat_turns(value, key) if isinstance(value, list) else [message(speaker, value)]
