"""Decodes table cells that hold a list or an object as text: JSON, or a Python literal as pandas writes it."""

import ast
import json
from collections.abc import Mapping
from typing import Any

from turnwise.data.parse_turns import is_turn_list

# Columns whose cells are always decoded. In other columns only lists of turns are; the rest stays text.
LIST_COLUMNS = frozenset({
    "messages", "conversations", "conversation", "items", "dialog", "dialogue", "turns", "utterances", "chat",
    "history", "tools", "functions", "tool_calls", "meta",
})  # fmt: skip
MAX_LITERAL_CHARACTERS = 2**20


def decode_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with its text cells decoded to lists and objects."""
    return {key: _decode(key, value) if isinstance(value, str) else value for key, value in row.items()}


def _decode(key: str, cell: str) -> Any:
    text = cell.strip()
    if not text.startswith(("[", "{")) or not text.endswith(("]", "}")):
        return cell
    value = _parse(text)
    if value is None:
        return cell
    return value if key.strip().lower() in LIST_COLUMNS or is_turn_list(value) else cell


def _parse(text: str) -> Any:
    """Return the value of JSON or of a Python literal; None for other text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > MAX_LITERAL_CHARACTERS:
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list | dict) else None
