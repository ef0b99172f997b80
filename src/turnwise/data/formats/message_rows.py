"""One dialogue per file: one message per row, {"role": …, "content": …}, without a conversation id.

If the first message is a system message, every further system message starts another dialogue.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.formats import long_form
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_tool_calls import extract_hermes_tools, link_tool_results
from turnwise.data.parse_turns import is_turn, parse_turns
from turnwise.data.rows import BadRow, NumberedValue, RowError, RowResult, make_conversation

MAX_MESSAGES = 10_000
EXPECTED = '{"role": "user", "content": "…"}, one message per row'
EXAMPLE = """\
{"role": "user", "content": "Is the mill open?"}
{"role": "assistant", "content": "Until six."}
"""
_SPEAKER_KEYS, _CONTENT_KEYS = {"role", "from", "speaker"}, {"content", "value", "text", "utterance"}


def matches(value: Any) -> float:
    """Fairly high for a single message without a conversation id."""
    if not isinstance(value, dict) or long_form.message_columns(value) or not is_turn(value):
        return 0.0
    return 0.75 if _SPEAKER_KEYS & value.keys() and _CONTENT_KEYS & value.keys() else 0.0


def combine(rows: Iterable[NumberedValue], context: ParseContext) -> Iterator[RowResult]:
    """Yield all messages of the file as one conversation. Stops at a bad row and drops the dialogue it belongs to."""
    messages: list[Message] = []
    first_number = 0
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            return
        number, value = row
        try:
            turns = parse_turns([value], "message", context)
        except RowError as error:
            yield BadRow(number, str(error))
            return
        if len(messages) > 1 and messages[0].role == turns[0].role == "system":
            yield first_number, _make_dialogue(messages)
            messages = []
        first_number = first_number if messages else number
        messages += turns
        if len(messages) > MAX_MESSAGES:
            yield BadRow(number, f"the dialogue has more than {MAX_MESSAGES:,} messages; rows need a 'conversation_id'")
            return
    if messages:
        yield first_number, _make_dialogue(messages)


def _make_dialogue(messages: list[Message]) -> Conversation:
    messages, tools = extract_hermes_tools(link_tool_results(messages))
    return replace(make_conversation(messages, {}), tools=tools)
