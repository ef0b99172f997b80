"""Documents: {"text": …} per line or in one array, for language modelling."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from turnwise.data import columns
from turnwise.data.formats import openai
from turnwise.data.json_rows import json_values
from turnwise.data.rows import Item, Row, Sample, document, mapping, parsed

EXPECTED = '{"text": "…"}'
EXAMPLE = """\
{"text": "The tide comes in twice a day.", "source": "harbour notes"}
{"text": "海水每天涨落两次。"}
"""


def sniff(sample: Sample) -> float:
    """Rather sure where the first object has a text; a text with a label is a classification set, not prose."""
    if not sample.record or not isinstance(sample.record.get("text"), str):
        return 0.0
    return 0.0 if columns.find(map(str, sample.record), columns.LABELS) else 0.6


def read(file: BinaryIO) -> Iterator[Row]:
    """Documents from JSON lines or one array."""
    return parsed(json_values(file), parse)


def parse(value: Any) -> Item:
    """The document in one object, or the conversation where a file holds both. Raises `RowError`."""
    row = mapping(value)
    return openai.parse(row) if "messages" in row else document(row)
