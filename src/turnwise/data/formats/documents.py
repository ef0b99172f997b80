"""Documents: {"text": …} per line or in one array, for language modelling.

A text that is a transcript, with chat-template markers or lines such as "Human: …", becomes a conversation.
"""

from collections.abc import Mapping
from typing import Any

from turnwise.data import columns
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import Document, Record, make_conversation, require_mapping, require_text
from turnwise.data.transcripts import split_transcript

EXPECTED = '{"text": "…"}'
EXAMPLE = """\
{"text": "The tide comes in twice a day.", "source": "harbour notes"}
{"text": "海水每天涨落两次。"}
"""


def matches(value: Any) -> float:
    """Medium for a text; a text with a label is a classification data set, not prose."""
    if not isinstance(value, dict):
        return 0.0
    key = columns.find_column(value, ("text",))
    if key is None or not isinstance(value[key], str) or columns.find_column(value, columns.LABEL_COLUMNS):
        return 0.0
    return 0.6


def parse(value: Any, context: ParseContext) -> Record:
    """Parse one object: a document, or a conversation in a file that holds both. Raises `RowError`."""
    from turnwise.data.formats import openai  # imports this module

    row = require_mapping(value)
    return openai.parse(row, context) if "messages" in row else parse_document(row, context)


def parse_document(row: Mapping[str, Any], context: ParseContext) -> Record:
    """Parse a `text` into a document, or into a conversation if it is a transcript. Raises `RowError`."""
    key = columns.find_column(row, ("text",)) or "text"
    content = require_text(row.get(key), f"'{key}'")
    meta = context.metadata_of(row, [key])
    messages = split_transcript(content)
    return make_conversation(messages, meta) if messages else Document(content, meta)
