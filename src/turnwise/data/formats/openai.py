"""OpenAI messages: one {"messages": [{"role": …, "content": …}, …]} per line.

An assistant's message may have a `weight`, how much fine-tuning learns from it. A `rating` (true or false) beside the
messages says whether their end was good; `rejected`, another list of messages, is the same dialogue with a worse one.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from turnwise.data.columns import chat_turns
from turnwise.data.json_rows import json_values
from turnwise.data.rows import Item, Row, RowError, Sample, conversation, document, mapping, meta_of, parsed, rating

EXPECTED = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
EXAMPLE = """\
{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it late?"}, \
{"role": "assistant", "content": "Just past nine."}], "topic": "time"}
{"messages": [{"role": "user", "content": [{"type": "text", "text": "你好"}]}, \
{"role": "assistant", "content": "你好！", "weight": 0.5}], "rating": true, "meta": {"lang": "zh"}}
"""


def sniff(sample: Sample) -> float:
    """Sure where the first object has a list of messages."""
    if sample.has_list("messages", "role") or sample.has_list("messages", "from"):
        return 1.0
    return 0.8 if sample.record is not None and "messages" in sample.record else 0.0


def read(file: BinaryIO) -> Iterator[Row]:
    """Conversations from JSON lines or one array."""
    return parsed(json_values(file), parse)


def parse(value: Any) -> Item:
    """The conversation in one object, or the document where a file holds both, as ours may. Raises `RowError`."""
    row = mapping(value)
    if "messages" not in row and "text" in row:
        return document(row)
    if "messages" not in row:
        raise RowError("it has no 'messages'")
    # A rating of other kinds, stars say, is something that is known of the dialogue and no more.
    label = next((key for key in ("rating", "label") if isinstance(row.get(key), bool)), None)
    worse = row["rejected"] if isinstance(row.get("rejected"), list) else []
    used = ["messages", *(["rejected"] if worse else []), *([label] if label else [])]
    found = conversation(chat_turns(row["messages"], "messages"), meta_of(row, used))
    rejected = chat_turns(worse, "rejected") if worse else []
    return replace(found, rejected=tuple(rejected), rating=rating(row, label) if label else None)
