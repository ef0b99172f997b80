"""Tool choice: the field `tool_choice`, its legacy form `function_call`, and what all tool fields say together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnwise.core.chat_request import ToolOptions
from turnwise.core.errors import InvalidParameter
from turnwise.core.tools import AUTO_TOOL_CHOICE, Tool, ToolChoice
from turnwise.server.error_responses import truncate
from turnwise.server.schema.json_object import invalid_field, read_object
from turnwise.server.schema.tool_definitions import MAX_TOOLS, TOOL_TYPES, read_tool_name

MODES = ("none", "auto", "required")


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A tool that a choice names, with the path of its name in the body."""

    type: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class ParsedToolChoice:
    """A tool choice whose names have not been compared with the tools yet.

    Attributes:
        choice: the choice.
        named_tools: the tools that it names.
        is_single_call: exactly one call is allowed.
    """

    choice: ToolChoice
    named_tools: tuple[NamedTool, ...] = ()
    is_single_call: bool = False

    @classmethod
    def of_tool(cls, tool: NamedTool, *, is_single_call: bool) -> "ParsedToolChoice":
        """The choice that requires a call of `tool`."""
        return cls(ToolChoice("required", (tool.name,)), (tool,), is_single_call)


@dataclass(frozen=True, slots=True)
class ToolConfig:
    """Tools of a request, as the chat service takes them; `legacy` answers with a `function_call`."""

    options: ToolOptions
    legacy: bool


def read_tool_choice(value: Any) -> ParsedToolChoice | None:
    """Return the choice of `tool_choice`; None for null. Raises `InvalidParameter`."""
    if value is None:
        return None
    if value in MODES:
        return ParsedToolChoice(ToolChoice(value))
    if not isinstance(value, dict):
        raise invalid_field("tool_choice", f"must be none, auto, required or an object, not {truncate(repr(value))}")
    choice_type = value.get("type")
    if choice_type == "allowed_tools":
        path = "tool_choice.allowed_tools"
        allowed = read_object(value, "tool_choice", {"type", "allowed_tools"}).get("allowed_tools")
        return read_allowed_tools(read_object(allowed, path, {"mode", "tools"}), path, _read_named_tool)
    if choice_type not in TOOL_TYPES:
        requirement = f"must be function, custom or allowed_tools, not {truncate(repr(choice_type))}"
        raise invalid_field("tool_choice.type", requirement)
    return ParsedToolChoice.of_tool(_read_named_tool(value, "tool_choice"), is_single_call=True)


def read_allowed_tools(
    fields: Mapping[str, Any], path: str, read_named_tool: Callable[[Any, str], NamedTool]
) -> ParsedToolChoice:
    """Return the choice among a list of tools. Raises `InvalidParameter`.

    Args:
        fields: the object with `mode` and `tools`.
        path: path of that object.
        read_named_tool: reads an entry of `tools`, from its value and path.
    """
    mode, tools = fields.get("mode"), fields.get("tools")
    if mode not in ("auto", "required"):
        raise invalid_field(f"{path}.mode", f"must be auto or required, not {truncate(repr(mode))}")
    if not isinstance(tools, list) or not 1 <= len(tools) <= MAX_TOOLS:
        raise invalid_field(f"{path}.tools", f"must be a list of 1 to {MAX_TOOLS} tools")
    named_tools = tuple(read_named_tool(entry, f"{path}.tools[{i}]") for i, entry in enumerate(tools))
    return ParsedToolChoice(ToolChoice(mode, tuple(tool.name for tool in named_tools)), named_tools)


def _read_named_tool(value: Any, path: str) -> NamedTool:
    tool_type = value.get("type") if isinstance(value, dict) else None
    if tool_type not in TOOL_TYPES:
        raise invalid_field(f"{path}.type", f"must be function or custom, not {truncate(repr(tool_type))}")
    fields = read_object(read_object(value, path, {"type", tool_type}).get(tool_type), f"{path}.{tool_type}", {"name"})
    name_path = f"{path}.{tool_type}.name"
    return NamedTool(tool_type, read_tool_name(fields.get("name"), name_path), name_path)


def read_function_call(value: Any) -> ParsedToolChoice | None:
    """Return the choice of the legacy field `function_call`; None for null. Raises `InvalidParameter`."""
    if value is None:
        return None
    if value in ("none", "auto"):
        return ParsedToolChoice(ToolChoice(value))
    if not isinstance(value, dict):
        requirement = f"must be none, auto or an object with a name, not {truncate(repr(value))}"
        raise invalid_field("function_call", requirement)
    name_path = "function_call.name"
    name = read_tool_name(read_object(value, "function_call", {"name"}).get("name"), name_path)
    return ParsedToolChoice.of_tool(NamedTool("function", name, name_path), is_single_call=False)


def resolve_tool_config(
    tools: tuple[Tool, ...] | None,
    tool_choice: ParsedToolChoice | None,
    parallel_tool_calls: bool | None,
    functions: tuple[Tool, ...] | None = None,
    function_call: ParsedToolChoice | None = None,
) -> ToolConfig:
    """Combine the tool fields of a request. Raises `InvalidParameter` if they contradict each other."""
    legacy = bool(functions)
    if functions and tools:
        raise InvalidParameter("functions", "'functions' is the legacy form of 'tools'; send one of them.")
    _check_pair(tool_choice, "tool_choice", "tools", has_other_form=bool(functions))
    _check_pair(function_call, "function_call", "functions", has_other_form=bool(tools))
    available = functions or tools or ()
    if not available:
        for choice, name in ((tool_choice, "tool_choice"), (function_call, "function_call")):
            if choice is not None and choice.choice.mode == "required":
                raise InvalidParameter(name, f"'{name}' needs tools to choose from.")
    parsed = (function_call if legacy else tool_choice) or ParsedToolChoice(AUTO_TOOL_CHOICE)
    available_names = {(tool.kind, tool.name) for tool in available}
    for tool in parsed.named_tools:
        if (tool.type, tool.name) not in available_names:
            raise invalid_field(tool.path, f"is not the name of a {tool.type} in the tools: '{tool.name}'")
    allows_several = parallel_tool_calls is not False and not parsed.is_single_call and not legacy
    return ToolConfig(ToolOptions(available, parsed.choice, allows_several), legacy)


def _check_pair(choice: ParsedToolChoice | None, name: str, tools_name: str, *, has_other_form: bool) -> None:
    if choice is not None and choice.choice.mode != "auto" and has_other_form:
        raise InvalidParameter(name, f"'{name}' is only allowed together with '{tools_name}'.")
