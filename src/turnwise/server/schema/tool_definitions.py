"""Tool definitions: the field `tools`, and its legacy form `functions`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from turnwise.chat.tool_schemas import enforceable_schema
from turnwise.core.messages import CUSTOM_INPUT_KEY
from turnwise.core.tools import GrammarSyntax, Tool
from turnwise.server.error_responses import truncate
from turnwise.server.request_context import current_request
from turnwise.server.schema.json_object import invalid_field, read_object

MAX_TOOLS = 128
MAX_NAME_CHARS = 64
TOOL_TYPES = ("function", "custom")
TOOL_NAME_PATTERN = re.compile(r"[a-zA-Z0-9_-]+")


def read_tools(value: Any) -> tuple[Tool, ...] | None:
    """Return the tools of a request; None for null. Raises `InvalidParameter`."""
    return read_tool_list(value, "tools", _read_tool)


def read_functions(value: Any) -> tuple[Tool, ...] | None:
    """Return the tools in the legacy field `functions`; None for null. Raises `InvalidParameter`."""
    return read_tool_list(value, "functions", read_function_tool)


def read_tool_list(value: Any, path: str, read_tool: Callable[[Any, str], Tool]) -> tuple[Tool, ...] | None:
    """Return a list of tools with unique names; None for null. Raises `InvalidParameter`."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MAX_TOOLS:
        raise invalid_field(path, f"must be a list of at most {MAX_TOOLS}")
    tools: tuple[Tool, ...] = tuple(read_tool(entry, f"{path}[{i}]") for i, entry in enumerate(value))
    names: set[str] = set()
    for i, tool in enumerate(tools):
        if tool.name in names:
            raise invalid_field(f"{path}[{i}]", f"has the name of another tool: '{tool.name}'")
        names.add(tool.name)
    return tools


def read_tool_name(value: Any, path: str, max_chars: int = MAX_NAME_CHARS) -> str:
    """Return the name of a tool. Raises `InvalidParameter`."""
    if not isinstance(value, str) or len(value) > max_chars or not TOOL_NAME_PATTERN.fullmatch(value):
        raise invalid_field(path, f"must be 1 to {max_chars} letters, digits, '_' or '-'")
    return value


def _read_tool(value: Any, path: str) -> Tool:
    if not isinstance(value, dict):
        raise invalid_field(path, "must be an object")
    tool_type = value.get("type")
    if tool_type not in TOOL_TYPES:
        raise invalid_field(f"{path}.type", f"must be function or custom, not {truncate(repr(tool_type))}")
    definition = read_object(value, path, {"type", tool_type}).get(tool_type)
    return (read_function_tool if tool_type == "function" else _read_custom_tool)(definition, f"{path}.{tool_type}")


def read_function_tool(value: Any, path: str, max_chars: int = MAX_NAME_CHARS) -> Tool:
    """Return a function tool.

    Without `strict`, keywords of the schema that cannot be enforced are dropped, and listed in a response header.

    Args:
        value: the object with `name` and `parameters`.
        path: path of that object.
        max_chars: maximum length of the name.

    Raises:
        InvalidParameter: a field is missing or invalid.
    """
    fields = read_object(value, path, {"name", "description", "parameters", "strict"})
    name = read_tool_name(fields.get("name"), f"{path}.name", max_chars)
    for key, value_type, type_name in (("description", str, "a string"), ("strict", bool, "true or false")):
        if not isinstance(fields.get(key), value_type | None):
            raise invalid_field(f"{path}.{key}", f"must be {type_name}")
    schema = fields.get("parameters")
    if not isinstance(schema, dict | None):
        raise invalid_field(f"{path}.parameters", "must be a JSON schema, an object")
    if schema is not None and schema.get("type", "object") != "object":
        raise invalid_field(f"{path}.parameters.type", f"must be object, not {truncate(repr(schema['type']))}")
    tool = Tool.from_function({**fields, "name": name}, f"{path}.parameters")
    if fields.get("strict"):
        return tool
    enforced, dropped_keywords = enforceable_schema(tool.schema)
    current_request().not_enforced += tuple(f"{path}.parameters.{keyword}" for keyword in dropped_keywords)
    return replace(tool, schema=enforced)


def _read_custom_tool(value: Any, path: str) -> Tool:
    fields = read_object(value, path, {"name", "description", "format"})
    input_format = fields.get("format")
    if isinstance(input_format, dict) and input_format.get("type") == "grammar":
        grammar_path = f"{path}.format.grammar"
        grammar = read_object(input_format, f"{path}.format", {"type", "grammar"}).get("grammar")
        return read_custom_tool(
            fields, path, read_object(grammar, grammar_path, {"syntax", "definition"}), grammar_path
        )
    return read_custom_tool(fields, path, None, "")


def read_custom_tool(
    fields: Mapping[str, Any],
    path: str,
    grammar: Mapping[str, Any] | None,
    grammar_path: str,
    max_chars: int = MAX_NAME_CHARS,
) -> Tool:
    """Return a custom tool.

    Args:
        fields: the definition of the tool.
        path: path of `fields`.
        grammar: the object with `syntax` and `definition`; None if the input is free text.
        grammar_path: path of `grammar`.
        max_chars: maximum length of the name.

    Raises:
        InvalidParameter: a field is missing or invalid.
    """
    name = read_tool_name(fields.get("name"), f"{path}.name", max_chars)
    description = fields.get("description")
    if not isinstance(description, str | None):
        raise invalid_field(f"{path}.description", "must be a string")
    syntax: GrammarSyntax = "text"
    definition = ""
    if grammar is None:
        _check_text_format(fields.get("format"), f"{path}.format")
    else:
        syntax, definition = _read_grammar(grammar, grammar_path)
    hint = f"The input matches this {syntax} grammar:\n{definition}" if definition else ""
    # Chat templates support functions only, so the model sees a function with one string parameter.
    parameters = {
        "type": "object", "properties": {CUSTOM_INPUT_KEY: {"type": "string"}}, "required": [CUSTOM_INPUT_KEY]
    }  # fmt: skip
    function = {"name": name, "description": "\n".join(filter(None, [description, hint])), "parameters": parameters}
    return Tool(
        name, f"{grammar_path}.definition" if definition else path, "custom", syntax=syntax, grammar=definition,
        definition={"type": "function", "function": function},
    )  # fmt: skip


def _check_text_format(value: Any, path: str) -> None:
    if value is None:
        return
    if not isinstance(value, dict) or value.get("type") != "text":
        raise invalid_field(f"{path}.type", "must be text or grammar")
    read_object(value, path, {"type"})


def _read_grammar(grammar: Mapping[str, Any], path: str) -> tuple[GrammarSyntax, str]:
    syntax, definition = grammar.get("syntax"), grammar.get("definition")
    if syntax not in ("lark", "regex"):
        raise invalid_field(f"{path}.syntax", f"must be lark or regex, not {truncate(repr(syntax))}")
    if not isinstance(definition, str) or not definition:
        raise invalid_field(f"{path}.definition", "must be a string that is not empty")
    return syntax, definition
