"""Pairs: {"prompt": …, "response": …} per line or in one array, under the same names as the columns of a table."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from turnwise.data import columns
from turnwise.data.json_rows import json_values
from turnwise.data.rows import Item, Row, RowError, Sample, mapping, parsed

EXPECTED = '{"prompt": "…", "response": "…"} (or question and answer, user and assistant, input and output)'
EXAMPLE = """\
{"question": "How many legs has a spider?", "answer": "Eight.", "source": "garden"}
{"question": "And an ant?", "answer": "Six."}
"""


def sniff(sample: Sample) -> float:
    """Fairly sure where the first object has a question and an answer under known names."""
    return 0.7 if sample.record and columns.is_known([str(key) for key in sample.record]) else 0.0


def read(file: BinaryIO) -> Iterator[Row]:
    """Conversations from JSON lines or one array."""
    return parsed(json_values(file), parse)


def parse(value: Any) -> Item:
    """The conversation in one object. Raises `RowError`."""
    row = mapping(value)
    if not columns.find(row, columns.PROMPTS) or not columns.find(row, columns.REPLIES):
        raise RowError(f"its keys are {', '.join(map(repr, row)) or 'none'}")
    return columns.pair_parser(list(row))(row)
