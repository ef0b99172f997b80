"""One dialogue per file: one message per row, {"role": …, "content": …}, without an id of the dialogue.

Where the first message is a system message, every further one begins another dialogue.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.formats import NumberedValues, long_form
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_tool_calls import extract_hermes_tools, link_tool_results
from turnwise.data.parse_turns import is_turn, parse_turns
from turnwise.data.rows import BadRow, RowError, RowResult, make_conversation

MAX_MESSAGES = 10_000
EXPECTED = '{"role": "user", "content": "…"}, one message per row'
EXAMPLE = """\
{"role": "user", "content": "Is the mill open?"}
{"role": "assistant", "content": "Until six."}
"""
_SPEAKERS, _CONTENTS = {"role", "from", "speaker"}, {"content", "value", "text", "utterance"}


def matches(value: Any) -> float:
    """Fairly sure of a single message that names no dialogue."""
    if not isinstance(value, dict) or long_form.message_columns(value) or not is_turn(value):
        return 0.0
    return 0.75 if _SPEAKERS & value.keys() and _CONTENTS & value.keys() else 0.0


def combine(rows: NumberedValues, context: ParseContext) -> Iterator[RowResult]:
    """All messages of the file as one conversation; what follows a bad one is left out, with the dialogue it is in."""
    messages: list[Message] = []
    first = 0
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
            yield first, _dialogue(messages)
            messages = []
        first = first if messages else number
        messages += turns
        if len(messages) > MAX_MESSAGES:
            yield BadRow(number, f"the dialogue has more than {MAX_MESSAGES:,} messages; rows need a 'conversation_id'")
            return
    if messages:
        yield first, _dialogue(messages)


def _dialogue(messages: list[Message]) -> Conversation:
    plain, tools = extract_hermes_tools(link_tool_results(messages))
    return replace(make_conversation(plain, {}), tools=tools)
