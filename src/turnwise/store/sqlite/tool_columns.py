"""A message's tool calls as one column of JSON."""

import json
from typing import Any

from turnwise.core.messages import Message, ToolCall


def tools_to_json(message: Message) -> str | None:
    """What the message says of tool calls; None where it says nothing."""
    said: dict[str, Any] = {}
    if message.tool_calls:
        said["calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments, "kind": call.kind}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        said["answers"] = message.tool_call_id
    return json.dumps(said, ensure_ascii=False) if said else None


def tools_from_json(written: str | None) -> dict[str, Any]:
    """The fields of a message that `written_tools` wrote."""
    said = json.loads(written) if written else {}
    return {
        "tool_calls": tuple(ToolCall(**call) for call in said.get("calls", ())),
        "tool_call_id": said.get("answers"),
    }
