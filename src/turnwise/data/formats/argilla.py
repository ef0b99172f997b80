"""Argilla: records with "fields" and "responses"; a response to a text question is the reply."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.columns import PROMPT_COLUMNS, REPLY_COLUMNS, find_column
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_turns import is_turn_list, parse_turns
from turnwise.data.rows import RowError, make_conversation, require_mapping, require_text

NOT_SUBMITTED = ("discarded", "draft")  # statuses of responses
EXPECTED = '{"fields": {"prompt": "…"}, "responses": {"response": [{"value": "…"}]}}'
EXAMPLE = """\
[{"id": "1", "status": "completed", "fields": {"prompt": "Is the mill open?"},
  "responses": {"response": [{"value": "Until six.", "user_id": "u1"}]}, "metadata": {}}]
"""


def matches(value: Any) -> float:
    """Certain for a record with fields, and responses or suggestions."""
    if not isinstance(value, dict) or not isinstance(value.get("fields"), dict):
        return 0.0
    return 1.0 if {"responses", "suggestions"} & value.keys() else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse one record; the reply is a submitted response, else the answer in the fields. Raises `RowError`."""
    row = require_mapping(value)
    fields = require_mapping(row.get("fields"))
    chat = next((key for key, entry in fields.items() if is_turn_list(entry)), None)
    prompt, reply = chat or find_column(fields, (*PROMPT_COLUMNS, "text")), find_column(fields, REPLY_COLUMNS)
    response = _first_response(row.get("responses"))
    answer = response if response is not None else fields.get(reply) if reply else None
    if prompt is None or (chat is None and not isinstance(answer, str)):
        raise RowError("it has no prompt or no answer")
    messages = (
        parse_turns(fields[prompt], prompt, context)
        if chat
        else [Message("user", require_text(fields[prompt], f"'{prompt}'"))]
    )
    if isinstance(answer, str) and messages[-1].role == "user":
        messages.append(Message("assistant", require_text(answer, "the answer")))
    return make_conversation(messages, context.metadata_of(fields, [prompt, *([reply] if reply else [])]))


def _first_response(responses: Any) -> str | None:
    """Return the first submitted response that is a text; None without one."""
    entries: list[Any] = []
    if isinstance(responses, dict):
        for response in responses.values():
            entries += response if isinstance(response, list) else [response]
    elif isinstance(responses, list):
        for response in responses:
            if not isinstance(response, Mapping) or response.get("status") in NOT_SUBMITTED:
                continue
            values = response.get("values")
            entries += list(values.values()) if isinstance(values, dict) else []
    texts = [
        entry.get("value") for entry in entries if isinstance(entry, dict) and entry.get("status") not in NOT_SUBMITTED
    ]
    return next((entry for entry in texts if isinstance(entry, str) and entry.strip()), None)
