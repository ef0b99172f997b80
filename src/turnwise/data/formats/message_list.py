"""Lists of messages: [{"role": …, "content": …}, …] per line, or one array of such lists."""

from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_tool_calls import extract_hermes_tools
from turnwise.data.parse_turns import is_turn_list, parse_turns
from turnwise.data.rows import RowError, json_type_name, make_conversation

EXPECTED = '[{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]'
EXAMPLE = """\
[{"role": "user", "content": "Is the mill open?"}, {"role": "assistant", "content": "Until six."}]
[{"role": "user", "content": "Thanks!"}, {"role": "assistant", "content": "Welcome."}]
"""


def matches(value: Any) -> float:
    """High for a list of turns, medium for a list of texts or of pairs of texts."""
    if is_turn_list(value):
        return 0.95
    if not isinstance(value, list) or not value:
        return 0.0
    if all(isinstance(entry, str) for entry in value):
        return 0.6 if len(value) > 1 else 0.0
    is_pairs = all(isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) for entry in value)
    return 0.6 if is_pairs else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse one list. Raises `RowError`."""
    if not isinstance(value, list):
        raise RowError(f"it is {json_type_name(value)}, not a list of messages")
    messages, tools = extract_hermes_tools(parse_turns(value, "messages", context))
    return replace(make_conversation(messages, {}), tools=tools)
