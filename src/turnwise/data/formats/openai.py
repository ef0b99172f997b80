"""OpenAI messages: one {"messages": [{"role": …, "content": …}, …]} per line.

An assistant message may have `tool_calls` and a `weight` in the loss. Optional keys beside `messages` are `tools`, the
tool definitions; `rating`, true if the last answer is good; and `rejected`, the same dialogue with a worse answer.
"""

from dataclasses import replace
from typing import Any

from turnwise.data.formats import documents
from turnwise.data.parse_context import DEFAULT_CONTEXT, ParseContext
from turnwise.data.parse_tool_calls import TOOL_KEYS, extract_hermes_tools, parse_tools
from turnwise.data.parse_turns import is_turn_list, make_message, parse_turns
from turnwise.data.rows import Record, RowError, make_conversation, parse_rating, require_mapping

EXPECTED = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
EXAMPLE = """\
{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it late?"}, \
{"role": "assistant", "content": "Just past nine."}], "topic": "time"}
{"messages": [{"role": "user", "content": [{"type": "text", "text": "你好"}]}, \
{"role": "assistant", "content": "你好！", "weight": 0.5}], "rating": true, "meta": {"lang": "zh"}}
"""


def matches(value: Any) -> float:
    """High for a list of messages, medium for another value under `messages`."""
    if not isinstance(value, dict) or "messages" not in value:
        return 0.0
    messages = value["messages"]
    if is_turn_list(messages):
        return 0.95
    return 0.0 if isinstance(messages, list) and messages and isinstance(messages[0], list) else 0.8


def parse(value: Any, context: ParseContext = DEFAULT_CONTEXT) -> Record:
    """Parse one object: a conversation, or a document in a file that holds both. Raises `RowError`."""
    row = require_mapping(value)
    if "messages" not in row and "text" in row:
        return documents.parse_document(row, context)
    if "messages" not in row:
        raise RowError("it has no 'messages'")
    # A rating of another type, such as a number of stars, is metadata.
    rating_key = next((key for key in ("rating", "label") if isinstance(row.get(key), bool)), None)
    rejected = row["rejected"] if isinstance(row.get("rejected"), list) else []
    messages, tools = extract_hermes_tools(parse_turns(row["messages"], "messages", context))
    used = ["messages", *(key for key in TOOL_KEYS if row.get(key)), *(["rejected"] if rejected else [])]
    used += [rating_key] if rating_key else []
    if isinstance(row.get("system"), str) and row["system"].strip():  # as in Anthropic's API
        messages.insert(0, make_message("system", row["system"], context=context))
        used.append("system")
    return replace(
        make_conversation(messages, context.metadata_of(row, used)),
        rejected=tuple(parse_turns(rejected, "rejected", context)) if rejected else (),
        rating=parse_rating(row, rating_key) if rating_key else None,
        tools=parse_tools(row) or tools,
    )
