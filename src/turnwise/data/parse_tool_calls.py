"""Parses tool definitions, calls and results in three notations: OpenAI's fields, ShareGPT's roles, Hermes' tags."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Message, ToolCall, ToolKind
from turnwise.core.tools import Tool
from turnwise.data.rows import RowError, json_type_name

TOOL_KEYS = ("tools", "functions")
_TOOL_FIELDS = ("name", "description", "parameters", "strict")
_HERMES_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
_HERMES_RESULT = re.compile(r"\s*<tool_response>\s*(.*?)\s*</tool_response>\s*", re.DOTALL)
_HERMES_TOOLS = re.compile(r"<tools>\s*(.*?)\s*</tools>", re.DOTALL)
# Start of the instructions around <tools> in the prompts of Hermes and Qwen; the chat template writes its own.
_HERMES_PREAMBLE = re.compile(
    r"(?:# Tools|You are a function calling|You may call one or more functions|You can call tools)"
)


def parse_tools(row: Mapping[str, Any]) -> tuple[Tool, ...]:
    """Return the tool definitions under `tools` or `functions`, as objects or JSON text. Raises `RowError`."""
    key = next((key for key in TOOL_KEYS if row.get(key)), None)
    return _parse_definitions(row[key], key) if key else ()


def _parse_definitions(value: Any, key: str) -> tuple[Tool, ...]:
    if isinstance(value, str):
        value = _load_json(value, f"'{key}'")
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise RowError(f"'{key}' is {json_type_name(value)}, not a list of tool definitions")
    entries = [_load_json(entry, f"'{key}'") if isinstance(entry, str) else entry for entry in value]
    return tuple(_parse_definition(entry, key) for entry in entries)


def _parse_definition(entry: Any, key: str) -> Tool:
    function = entry.get("function", entry) if isinstance(entry, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError(f"'{key}' holds a definition without a name")
    schema = function.get("parameters")
    if isinstance(schema, str):
        schema = _load_json(schema, f"the parameters of '{function['name']}'")
    if not isinstance(schema, dict | None):
        raise RowError(f"the parameters of '{function['name']}' are not a JSON schema")
    fields = {name: function[name] for name in _TOOL_FIELDS if name in function}
    return Tool.from_function(fields | {"parameters": schema})


def parse_calls(entry: Mapping[str, Any], number: int) -> tuple[ToolCall, ...]:
    """Return the calls in `tool_calls` or `function_call` of message `number`. Raises `RowError`."""
    calls = entry.get("tool_calls") or entry.get("function_call")
    return parse_call_list(calls, number) if calls else ()


def parse_call_list(value: Any, number: int) -> tuple[ToolCall, ...]:
    """Parse one call or a list of calls, as objects or as JSON text. Raises `RowError`.

    Calls without an id get an empty one; `link_tool_results` fills it in.
    """
    label = f"the tool call of message {number}"
    if isinstance(value, str):
        value = _load_json(value, label)
    return tuple(_parse_call(call, label) for call in (value if isinstance(value, list) else [value]))


def _parse_call(value: Any, label: str) -> ToolCall:
    if isinstance(value, str):
        value = _load_json(value, label)
    if not isinstance(value, dict):
        raise RowError(f"{label} is {json_type_name(value)}, not an object")
    kind: ToolKind = "custom" if value.get("type") == "custom" else "function"
    call = value.get(kind, value)
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise RowError(f"{label} has no name")
    arguments = call.get("input") if kind == "custom" else call.get("arguments", call.get("parameters"))
    if not isinstance(arguments, str):
        arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
    id = value.get("id")
    return ToolCall(id if isinstance(id, str) else "", call["name"], arguments, kind)


def parse_hermes_tags(message: Message) -> Message:
    """Move the calls and results in Hermes' tags from the content to the fields of a message.

    A message with malformed tags is returned unchanged.
    """
    if message.role == "tool":
        match = _HERMES_RESULT.fullmatch(message.content)
        return replace(message, content=match.group(1)) if match else message
    if message.role != "assistant" or message.tool_calls or "<tool_call>" not in message.content:
        return message
    try:
        calls = tuple(_parse_call(json.loads(text), "it") for text in _HERMES_CALL.findall(message.content))
    except (ValueError, RecursionError):  # RowError is a ValueError
        return message
    if not calls:
        return message
    return replace(message, content=_HERMES_CALL.sub("", message.content).strip(), tool_calls=calls)


def extract_hermes_tools(messages: Sequence[Message]) -> tuple[list[Message], tuple[Tool, ...]]:
    """Return the messages without the tool definitions in the text of the system message, and the definitions."""
    first = messages[0] if messages and messages[0].role == "system" else None
    match = _HERMES_TOOLS.search(first.content) if first else None
    if first is None or match is None:
        return list(messages), ()
    body = match.group(1)
    try:
        value = json.loads(body) if body.startswith("[") else [json.loads(line) for line in body.split("\n") if line]
        tools = _parse_definitions(value, "tools")
    except (ValueError, RecursionError):
        return list(messages), ()
    preamble = _HERMES_PREAMBLE.search(first.content)
    start = preamble.start() if preamble and preamble.start() < match.start() else match.start()
    before = first.content[:start].strip()
    # After the definitions, the prompt explains how to write calls, ends with an example in tags, and then may give
    # instructions of its own. Only the latter stay.
    _, is_explained, after = first.content[match.end() :].rpartition("</tool_call>")
    after = after.strip() if is_explained or preamble is None else ""
    content = "\n\n".join(text for text in (before, after) if text)
    return [*([replace(first, content=content)] if content else []), *messages[1:]], tools


def link_tool_results(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with an id for every call, and for every tool result the id of the call it answers.

    A result without an id answers the pending call of the same name, else the first pending call.
    """
    linked: list[Message] = []
    pending: list[ToolCall] = []
    count = 0
    for message in messages:
        if message.tool_calls:
            calls = []
            for call in message.tool_calls:
                calls.append(call if call.id else replace(call, id=f"call_{count}"))
                count += 1
            message = replace(message, tool_calls=tuple(calls))
            pending = calls
        elif message.role == "tool" and pending and message.tool_call_id is None:
            answered = next((call for call in pending if call.name == message.name), pending[0])
            pending = [call for call in pending if call is not answered]
            message = replace(message, tool_call_id=answered.id)
        linked.append(message)
    return linked


def _load_json(text: str, label: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{label} is not valid JSON") from error
