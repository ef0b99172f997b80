"""Writes conversations and documents as JSON Lines, atomically."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from turnwise.core.files import atomic_file
from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document, Record


def to_json_line(item: Record, nulls: Counter[str] | None = None) -> str:
    """Return the JSON line of a conversation (OpenAI messages) or document, with its metadata under `meta`.

    `nulls` counts the rows in which null replaces NaN or infinity, by the key with this value.
    """
    row: dict[str, Any] = {"text": item.text} if isinstance(item, Document) else _conversation_row(item)
    if item.meta:
        row["meta"] = dict(item.meta)
    try:
        # Values from Parquet files, such as dates, have no JSON type.
        return json.dumps(row, ensure_ascii=False, default=str, allow_nan=False) + "\n"
    except ValueError:  # NaN or infinity, which is not JSON
        if nulls is not None:
            meta = row.get("meta", {})
            nulls.update(key for key, value in {**row, **meta}.items() if key != "meta" and not _is_finite(value))
        return json.dumps(_replace_non_finite(row), ensure_ascii=False, default=str, allow_nan=False) + "\n"


def _is_finite(value: Any) -> bool:
    try:
        json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return False
    return True


def _replace_non_finite(value: Any) -> Any:
    """Replace NaN and infinity with None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _replace_non_finite(entry) for key, entry in value.items()}
    return [_replace_non_finite(entry) for entry in value] if isinstance(value, list | tuple) else value


def _conversation_row(conversation: Conversation) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": _message_rows(conversation.messages)}
    if conversation.tools:
        row["tools"] = [dict(tool.definition) for tool in conversation.tools]
    if conversation.rejected:
        row["rejected"] = _message_rows(conversation.rejected)
    if conversation.rating is not None:
        row["rating"] = conversation.rating
    return row


def _message_rows(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [_message_row(message) for message in messages]


def _message_row(message: Message) -> dict[str, Any]:
    """Return the message in OpenAI's fine-tuning format; tool-call arguments stay text."""
    row = message.as_dict()
    if message.tool_calls:
        row["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            if call.kind == "function"
            else {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
            for call in message.tool_calls
        ]
    return row if message.weight == 1 else row | {"weight": message.weight}


def write_jsonl(path: Path, items: Iterable[Record], nulls: Counter[str] | None = None) -> int:
    """Write `items` to `path` atomically and return their number. An existing file stays until all items are on disk.

    `nulls` counts as in `to_json_line`.

    Raises `SaveFailed` if writing fails.
    """
    count = 0
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for item in items:
            file.write(to_json_line(item, nulls))
            count += 1
    return count
