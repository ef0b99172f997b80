"""ShareGPT: {"conversations": [{"from": "human", "value": …}, {"from": "gpt", …}]} per line or in one array."""

from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_tool_calls import TOOL_KEYS, extract_hermes_tools, parse_tools
from turnwise.data.parse_turns import is_turn_list, make_message, parse_turns
from turnwise.data.rows import RowError, make_conversation, require_mapping

TURNS_KEYS = (
    "conversations",
    "conversation",
    "items",
    "dialog",
    "dialogue",
    "dialogs",
    "turns",
    "utterances",
    "chat",
    "log",
)
EXPECTED = '{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}'
EXAMPLE = """\
[
  {"id": "walk", "conversations": [
    {"from": "human", "value": "Shall we go for a walk?"},
    {"from": "gpt", "value": "Take an umbrella, it may rain."}
  ]},
  {"id": "tea", "system": "Be polite.", "conversations": [
    {"from": "human", "value": "Tea?"},
    {"from": "gpt", "value": "With pleasure."}
  ]}
]
"""


def matches(value: Any) -> float:
    """High for a list of turns under a known name, fairly high for a list of texts."""
    if not isinstance(value, dict):
        return 0.0
    candidates = [value[key] for key in TURNS_KEYS if key in value]
    if any(map(is_turn_list, candidates)):
        return 0.93
    if any(isinstance(turns, list) and turns and all(isinstance(text, str) for text in turns) for turns in candidates):
        return 0.7
    conversations = value.get("conversations")
    # A list of lists of turns is the column of a table.
    is_column = isinstance(conversations, list) and bool(conversations) and is_turn_list(conversations[0])
    return 0.75 if isinstance(conversations, list) and not is_column else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse one object; its `system` becomes the first message. Raises `RowError`."""
    row = require_mapping(value)
    key = next((key for key in TURNS_KEYS if isinstance(row.get(key), list)), None)
    if key is None:
        key = next((key for key in TURNS_KEYS if key in row), None)
        raise RowError(f"'{key}' is not a list" if key else "it has no 'conversations'")
    turns = parse_turns(row[key], key, context)
    system = next((name for name in ("system", "system_prompt") if isinstance(row.get(name), str)), None)
    if system and row[system].strip():
        turns.insert(0, make_message("system", row[system], context=context))
    turns, tools = extract_hermes_tools(turns)
    used = [key, *(name for name in TOOL_KEYS if row.get(name)), *([system] if system else [])]
    return replace(make_conversation(turns, context.metadata_of(row, used)), tools=parse_tools(row) or tools)
