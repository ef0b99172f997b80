"""Reading `tools`, `tool_choice` and their older forms, `functions` and `function_call`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnwise.chat.tool_schemas import enforceable_schema
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import CUSTOM_INPUT_KEY
from turnwise.core.tools import AUTO_TOOL_CHOICE, GrammarSyntax, Tool, ToolChoice
from turnwise.server.error_responses import truncate
from turnwise.server.request_context import current_request
from turnwise.server.schema.json_object import invalid_field, read_object

MAX_TOOLS = 128
MAX_NAME_CHARS = 64
TOOL_NAME_PATTERN = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ParsedToolChoice:
    """A choice as it was said: `ToolChoice`, and the kind of a tool that was named with its place."""

    choice: ToolChoice
    named_tools: tuple[tuple[str, str, str], ...] = ()  # kind, name and place of each
    is_single_call: bool = False  # exactly one call


@dataclass(frozen=True, slots=True)
class ToolConfig:
    """What the model is offered, as the chat room takes it; `legacy` answers with a `function_call`."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = AUTO_TOOL_CHOICE
    parallel_tool_calls: bool = True
    legacy: bool = False


def read_tools(value: Any) -> tuple[Tool, ...] | None:
    """The tools of a request; None where nothing was said. Raises `InvalidParameter`."""
    return read_tool_list(value, "tools", _tool)


def read_functions(value: Any) -> tuple[Tool, ...] | None:
    """The older list of functions. Raises `InvalidParameter`."""
    return read_tool_list(value, "functions", read_function_tool)


def read_tool_choice(value: Any) -> ParsedToolChoice | None:
    """Whether a tool may or must be called. Raises `InvalidParameter`."""
    if value is None:
        return None
    if value in ("none", "auto", "required"):
        return ParsedToolChoice(ToolChoice(value))
    if not isinstance(value, dict):
        raise invalid_field("tool_choice", f"must be none, auto, required or an object, not {truncate(repr(value))}")
    kind = value.get("type")
    if kind == "allowed_tools":
        return _allowed(value)
    if kind not in ("function", "custom"):
        raise invalid_field(
            "tool_choice.type", f"must be function, custom or allowed_tools, not {truncate(repr(kind))}"
        )
    named_tools = _named(value, "tool_choice")
    return ParsedToolChoice(ToolChoice("required", (named_tools[1],)), (named_tools,), is_single_call=True)


def read_function_call(value: Any) -> ParsedToolChoice | None:
    """The older choice. Raises `InvalidParameter`."""
    if value is None:
        return None
    if value in ("none", "auto"):
        return ParsedToolChoice(ToolChoice(value))
    if not isinstance(value, dict):
        raise invalid_field(
            "function_call", f"must be none, auto or an object with a name, not {truncate(repr(value))}"
        )
    name = read_tool_name(read_object(value, "function_call", {"name"}).get("name"), "function_call.name")
    return ParsedToolChoice(ToolChoice("required", (name,)), (("function", name, "function_call.name"),))


def resolve_tool_config(
    tools: tuple[Tool, ...] | None,
    choice: ParsedToolChoice | None,
    parallel_tool_calls: bool | None,
    functions: tuple[Tool, ...] | None,
    call: ParsedToolChoice | None,
) -> ToolConfig:
    """What the fields say together. Raises `InvalidParameter` where they contradict each other."""
    legacy = bool(functions)
    if functions and tools:
        raise InvalidParameter("functions", "'functions' is the older form of 'tools'; send one of them.")
    for value, name, other in ((choice, "tool_choice", functions), (call, "function_call", tools)):
        if value is not None and value.choice.mode != "auto" and other:
            needed = "tools" if name == "tool_choice" else "functions"
            raise InvalidParameter(name, f"'{name}' goes with '{needed}' only.")
    available = functions or tools or ()
    tool_choice = (call if legacy else choice) or ParsedToolChoice(AUTO_TOOL_CHOICE)
    unused = choice if legacy else call
    for value, name in ((tool_choice, "function_call" if legacy else "tool_choice"), (unused, "function_call")):
        if value is not None and value.choice.mode == "required" and not available:
            raise InvalidParameter(name, f"'{name}' needs tools to choose from.")
    known = {(tool.kind, tool.name) for tool in available}
    for kind, name, place in tool_choice.named_tools:
        if (kind, name) not in known:
            raise invalid_field(place, f"names no {kind} among the tools: '{name}'")
    several = parallel_tool_calls is not False and not tool_choice.is_single_call and not legacy
    return ToolConfig(available, tool_choice.choice, several, legacy)


def read_tool_name(value: Any, path: str, max_chars: int = MAX_NAME_CHARS) -> str:
    """A tool's name. Raises `InvalidParameter`."""
    if not isinstance(value, str) or len(value) > max_chars or not TOOL_NAME_PATTERN.fullmatch(value):
        raise invalid_field(path, f"must be 1 to {max_chars} letters, digits, '_' or '-'")
    return value


def read_tool_list(value: Any, path: str, read: Callable[[Any, str], Tool]) -> tuple[Tool, ...] | None:
    """Tools with different names; None where nothing was sent. Raises `InvalidParameter`."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MAX_TOOLS:
        raise invalid_field(path, f"must be a list of at most {MAX_TOOLS}")
    tools: tuple[Tool, ...] = tuple(read(entry, f"{path}[{i}]") for i, entry in enumerate(value))
    names = [tool.name for tool in tools]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise invalid_field(f"{path}[{i}]", f"has the name of another one: '{name}'")
    return tools


def _tool(value: Any, path: str) -> Tool:
    if not isinstance(value, dict):
        raise invalid_field(path, "must be an object")
    kind = value.get("type")
    if kind not in ("function", "custom"):
        raise invalid_field(f"{path}.type", f"must be function or custom, not {truncate(repr(kind))}")
    inner = read_object(value, path, {"type", kind}).get(kind)
    return (read_function_tool if kind == "function" else _custom)(inner, f"{path}.{kind}")


def read_function_tool(value: Any, path: str, max_chars: int = MAX_NAME_CHARS) -> Tool:
    """A function, from the object that describes it. Raises `InvalidParameter`."""
    inner = read_object(value, path, {"name", "description", "parameters", "strict"})
    name = read_tool_name(inner.get("name"), f"{path}.name", max_chars)
    for key, kind, noun in (("description", str, "a string"), ("strict", bool, "true or false")):
        if not isinstance(inner.get(key), kind | None):
            raise invalid_field(f"{path}.{key}", f"must be {noun}")
    schema = inner.get("parameters")
    if not isinstance(schema, dict | None):
        raise invalid_field(f"{path}.parameters", "must be a JSON schema, an object")
    if schema is not None and schema.get("type", "object") != "object":
        raise invalid_field(f"{path}.parameters.type", f"must be object, not {truncate(repr(schema['type']))}")
    tool = Tool.from_function({**inner, "name": name}, f"{path}.parameters")
    if inner.get("strict"):
        return tool
    enforced, dropped = enforceable_schema(tool.schema)
    current_request().not_enforced += tuple(f"{path}.parameters.{keyword}" for keyword in dropped)
    return replace(tool, schema=enforced)


def _custom(value: Any, path: str) -> Tool:
    inner = read_object(value, path, {"name", "description", "format"})
    form = inner.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        grammar_path = f"{path}.format.grammar"
        grammar = read_object(read_object(form, f"{path}.format", {"type", "grammar"}).get("grammar"), grammar_path,
                              {"syntax", "definition"})  # fmt: skip
        return read_custom_tool(inner, path, grammar, grammar_path)
    return read_custom_tool(inner, path, None, "")


def read_custom_tool(
    inner: Mapping[str, Any],
    path: str,
    form: Mapping[str, Any] | None,
    grammar_path: str,
    max_chars: int = MAX_NAME_CHARS,
) -> Tool:
    """A custom tool. Raises `InvalidParameter`.

    Args:
        inner: the object that describes it.
        where: the path of `inner`.
        form: the object with 'syntax' and 'definition'; None where 'format' is no grammar.
        at: the path of `form`.
        longest: most characters of its name.
    """
    name = read_tool_name(inner.get("name"), f"{path}.name", max_chars)
    description = inner.get("description")
    if not isinstance(description, str | None):
        raise invalid_field(f"{path}.description", "must be a string")
    syntax, grammar = (
        _text_format(inner.get("format"), f"{path}.format") if form is None else _grammar(form, grammar_path)
    )
    rule = f"The input matches this {syntax} grammar:\n{grammar}" if grammar else ""
    # Chat templates know functions only, so a custom tool is one with a single text.
    parameters = {
        "type": "object",
        "properties": {CUSTOM_INPUT_KEY: {"type": "string"}},
        "required": [CUSTOM_INPUT_KEY],
    }
    told = {"name": name, "description": "\n".join(filter(None, [description, rule])), "parameters": parameters}
    return Tool(
        name, f"{grammar_path}.definition" if grammar else path, "custom", syntax=syntax, grammar=grammar,
        definition={"type": "function", "function": told},
    )  # fmt: skip


def _text_format(value: Any, path: str) -> tuple[GrammarSyntax, str]:
    if value is None:
        return "text", ""
    if not isinstance(value, dict) or value.get("type") != "text":
        raise invalid_field(f"{path}.type", "must be text or grammar")
    read_object(value, path, {"type"})
    return "text", ""


def _grammar(form: Mapping[str, Any], grammar_path: str) -> tuple[GrammarSyntax, str]:
    syntax, definition = form.get("syntax"), form.get("definition")
    if syntax not in ("lark", "regex"):
        raise invalid_field(f"{grammar_path}.syntax", f"must be lark or regex, not {truncate(repr(syntax))}")
    if not isinstance(definition, str) or not definition:
        raise invalid_field(f"{grammar_path}.definition", "must be a string that is not empty")
    return syntax, definition


def _allowed(value: Mapping[str, Any]) -> ParsedToolChoice:
    path = "tool_choice.allowed_tools"
    inner = read_object(read_object(value, "tool_choice", {"type", "allowed_tools"}).get("allowed_tools"), path,
                        {"mode", "tools"})  # fmt: skip
    mode, tools = inner.get("mode"), inner.get("tools")
    if mode not in ("auto", "required"):
        raise invalid_field(f"{path}.mode", f"must be auto or required, not {truncate(repr(mode))}")
    if not isinstance(tools, list) or not 1 <= len(tools) <= MAX_TOOLS:
        raise invalid_field(f"{path}.tools", f"must be a list of 1 to {MAX_TOOLS} tools")
    named_tools: Sequence[tuple[str, str, str]] = [_named(one, f"{path}.tools[{i}]") for i, one in enumerate(tools)]
    return ParsedToolChoice(ToolChoice(mode, tuple(name for _, name, _ in named_tools)), tuple(named_tools))


def _named(value: Any, path: str) -> tuple[str, str, str]:
    """Kind, name and place of a tool that a choice names."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("function", "custom"):
        raise invalid_field(f"{path}.type", f"must be function or custom, not {truncate(repr(kind))}")
    inner = read_object(read_object(value, path, {"type", kind}).get(kind), f"{path}.{kind}", {"name"})
    return kind, read_tool_name(inner.get("name"), f"{path}.{kind}.name"), f"{path}.{kind}.name"
