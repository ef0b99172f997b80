"""Cells of tables that hold a list or an object as text: JSON, or Python's way to write it, as pandas does."""

import ast
import json
from collections.abc import Mapping
from typing import Any

from turnwise.data.parse_turns import is_turn_list

LISTS = frozenset({
    "messages", "conversations", "conversation", "items", "dialog", "dialogue", "turns", "utterances", "chat",
    "history", "tools", "functions", "tool_calls", "meta",
})  # fmt: skip
MAX_LITERAL = 2**20


def decode_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with lists and objects in place of the texts that spell them."""
    return {key: _decoded(key, value) if isinstance(value, str) else value for key, value in row.items()}


def _decoded(key: str, cell: str) -> Any:
    text = cell.strip()
    if not text.startswith(("[", "{")) or not text.endswith(("]", "}")):
        return cell
    value = _parsed(text)
    if value is None:
        return cell
    return value if key.strip().lower() in LISTS or is_turn_list(value) else cell


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > MAX_LITERAL:
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list | dict) else None
