"""Tool definitions, calls and results as training data spells them: OpenAI's fields, ShareGPT's roles, Hermes' tags."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnwise.core.messages import Message, ToolCall, ToolKind
from turnwise.core.tools import Tool
from turnwise.data.rows import RowError, json_type_name

TOOL_KEYS = ("tools", "functions")
_HERMES_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
_HERMES_RESULT = re.compile(r"\s*<tool_response>\s*(.*?)\s*</tool_response>\s*", re.DOTALL)
_HERMES_TOOLS = re.compile(r"<tools>\s*(.*?)\s*</tools>", re.DOTALL)
# How the instructions around <tools> begin in Hermes' and Qwen's prompts; our template writes its own.
_HERMES_PREAMBLE = re.compile(
    r"(?:# Tools|You are a function calling|You may call one or more functions|You can call tools)"
)


def parse_tools(row: Mapping[str, Any]) -> tuple[Tool, ...]:
    """The definitions under `tools` or `functions`, objects or JSON text. Raises `RowError`."""
    key = next((key for key in TOOL_KEYS if row.get(key)), None)
    return _definitions(row[key], key) if key else ()


def _definitions(value: Any, key: str) -> tuple[Tool, ...]:
    if isinstance(value, str):
        value = _json(value, f"'{key}'")
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise RowError(f"'{key}' is {json_type_name(value)}, not a list of tool definitions")
    return tuple(_tool(_json(entry, f"'{key}'") if isinstance(entry, str) else entry, key) for entry in value)


def _tool(entry: Any, key: str) -> Tool:
    inner = entry.get("function", entry) if isinstance(entry, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise RowError(f"'{key}' holds a definition without a name")
    schema = inner.get("parameters")
    if isinstance(schema, str):
        schema = _json(schema, f"the parameters of '{inner['name']}'")
    if not isinstance(schema, dict | None):
        raise RowError(f"the parameters of '{inner['name']}' are no JSON schema")
    kept = {name: inner[name] for name in ("name", "description", "parameters", "strict") if name in inner}
    return Tool.from_function(kept | {"parameters": schema})


def parse_calls(entry: Mapping[str, Any], number: int) -> tuple[ToolCall, ...]:
    """The calls in the fields `tool_calls` or `function_call` of a message. Raises `RowError`."""
    calls = entry.get("tool_calls") or entry.get("function_call")
    return parse_call_list(calls, number) if calls else ()


def parse_call_list(value: Any, number: int) -> tuple[ToolCall, ...]:
    """One call or a list of them, as objects or as JSON text. Calls without an id get an empty one."""
    where = f"the tool call of message {number}"
    if isinstance(value, str):
        value = _json(value, where)
    return tuple(_call(call, where) for call in (value if isinstance(value, list) else [value]))


def _call(value: Any, where: str) -> ToolCall:
    if isinstance(value, str):
        value = _json(value, where)
    if not isinstance(value, dict):
        raise RowError(f"{where} is {json_type_name(value)}, not an object")
    kind: ToolKind = "custom" if value.get("type") == "custom" else "function"
    inner = value.get(kind, value)
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"]:
        raise RowError(f"{where} has no name")
    arguments = inner.get("input") if kind == "custom" else inner.get("arguments", inner.get("parameters"))
    id = value.get("id")
    if not isinstance(arguments, str):
        arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
    return ToolCall(
        id if isinstance(id, str) else "", inner["name"], arguments, "custom" if kind == "custom" else "function"
    )


def parse_hermes_tags(message: Message) -> Message:
    """An assistant's or a tool's message in which Hermes' tags are fields."""
    if message.role == "tool":
        match = _HERMES_RESULT.fullmatch(message.content)
        return replace(message, content=match.group(1)) if match else message
    if message.role != "assistant" or message.tool_calls or "<tool_call>" not in message.content:
        return message
    try:
        calls = tuple(_call(json.loads(text), "it") for text in _HERMES_CALL.findall(message.content))
    except (ValueError, RecursionError):  # RowError is a ValueError
        return message
    return (
        replace(message, content=_HERMES_CALL.sub("", message.content).strip(), tool_calls=calls) if calls else message
    )


def extract_hermes_tools(messages: Sequence[Message]) -> tuple[list[Message], tuple[Tool, ...]]:
    """The messages without the definitions that stand as text in the system message, and the definitions."""
    first = messages[0] if messages and messages[0].role == "system" else None
    match = _HERMES_TOOLS.search(first.content) if first else None
    if first is None or match is None:
        return list(messages), ()
    body = match.group(1)
    try:
        value = json.loads(body) if body.startswith("[") else [json.loads(line) for line in body.split("\n") if line]
        tools = _definitions(value, "tools")
    except (ValueError, RecursionError):
        return list(messages), ()
    start = _HERMES_PREAMBLE.search(first.content)
    before = first.content[: start.start() if start and start.start() < match.start() else match.start()].strip()
    # Behind the definitions stands how calls are to be written, with an example in tags, and then what else was asked.
    _, is_explained, after = first.content[match.end() :].rpartition("</tool_call>")
    after = after.strip() if is_explained or start is None else ""
    content = "\n\n".join(text for text in (before, after) if text)
    return [*([replace(first, content=content)] if content else []), *messages[1:]], tools


def link_tool_results(messages: Sequence[Message]) -> list[Message]:
    """The messages with an id for every call, and for every result the id of the call that it answers."""
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


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{where} is not valid JSON") from error
