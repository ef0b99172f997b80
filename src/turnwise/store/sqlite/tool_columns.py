"""Tool calls of a message as one JSON column."""

import json
from typing import Any

from turnwise.core.messages import Message, ToolCall


def tools_to_json(message: Message) -> str | None:
    """Tool calls and tool-call id as JSON; None if there are none."""
    fields: dict[str, Any] = {}
    if message.tool_calls:
        fields["calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments, "kind": call.kind}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        fields["answers"] = message.tool_call_id
    return json.dumps(fields, ensure_ascii=False) if fields else None


def tools_from_json(calls_json: str | None) -> dict[str, Any]:
    """The fields of `Message` from the JSON of `tools_to_json`."""
    fields = json.loads(calls_json) if calls_json else {}
    return {
        "tool_calls": tuple(ToolCall(**call) for call in fields.get("calls", ())),
        "tool_call_id": fields.get("answers"),
    }
