"""Reading `tools`, `tool_choice` and their older forms, `functions` and `function_call`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnwise.chat.tool_schemas import enforceable
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import INPUT
from turnwise.core.tools import AUTO, Syntax, Tool, ToolChoice
from turnwise.server.error_responses import cut
from turnwise.server.request_context import current
from turnwise.server.schema.json_object import read_object, wrong

MOST_TOOLS = 128
MOST_NAME = 64
NAME = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A choice as it was said: `ToolChoice`, and the kind of a tool that was named with its place."""

    choice: ToolChoice
    named: tuple[tuple[str, str, str], ...] = ()  # kind, name and place of each
    one: bool = False  # exactly one call


@dataclass(frozen=True, slots=True)
class Offer:
    """What the model is offered, as the chat room takes it; `legacy` answers with a `function_call`."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = AUTO
    parallel: bool = True
    legacy: bool = False


def read_tools(said: Any) -> tuple[Tool, ...] | None:
    """The tools of a request; None where nothing was said. Raises `InvalidParameter`."""
    return read_list(said, "tools", _tool)


def read_functions(said: Any) -> tuple[Tool, ...] | None:
    """The older list of functions. Raises `InvalidParameter`."""
    return read_list(said, "functions", read_function)


def read_tool_choice(said: Any) -> Chosen | None:
    """Whether a tool may or must be called. Raises `InvalidParameter`."""
    if said is None:
        return None
    if said in ("none", "auto", "required"):
        return Chosen(ToolChoice(said))
    if not isinstance(said, dict):
        raise wrong("tool_choice", f"must be none, auto, required or an object, not {cut(repr(said))}")
    kind = said.get("type")
    if kind == "allowed_tools":
        return _allowed(said)
    if kind not in ("function", "custom"):
        raise wrong("tool_choice.type", f"must be function, custom or allowed_tools, not {cut(repr(kind))}")
    named = _named(said, "tool_choice")
    return Chosen(ToolChoice("required", (named[1],)), (named,), one=True)


def read_function_call(said: Any) -> Chosen | None:
    """The older choice. Raises `InvalidParameter`."""
    if said is None:
        return None
    if said in ("none", "auto"):
        return Chosen(ToolChoice(said))
    if not isinstance(said, dict):
        raise wrong("function_call", f"must be none, auto or an object with a name, not {cut(repr(said))}")
    name = read_name(read_object(said, "function_call", {"name"}).get("name"), "function_call.name")
    return Chosen(ToolChoice("required", (name,)), (("function", name, "function_call.name"),))


def one_offer(
    tools: tuple[Tool, ...] | None,
    choice: Chosen | None,
    parallel: bool | None,
    functions: tuple[Tool, ...] | None,
    call: Chosen | None,
) -> Offer:
    """What the fields say together. Raises `InvalidParameter` where they contradict each other."""
    legacy = bool(functions)
    if functions and tools:
        raise InvalidParameter("functions", "'functions' is the older form of 'tools'; send one of them.")
    for said, name, other in ((choice, "tool_choice", functions), (call, "function_call", tools)):
        if said is not None and said.choice.mode != "auto" and other:
            needed = "tools" if name == "tool_choice" else "functions"
            raise InvalidParameter(name, f"'{name}' goes with '{needed}' only.")
    offered = functions or tools or ()
    chosen = (call if legacy else choice) or Chosen(AUTO)
    unused = choice if legacy else call
    for said, name in ((chosen, "function_call" if legacy else "tool_choice"), (unused, "function_call")):
        if said is not None and said.choice.mode == "required" and not offered:
            raise InvalidParameter(name, f"'{name}' needs tools to choose from.")
    known = {(tool.kind, tool.name) for tool in offered}
    for kind, name, place in chosen.named:
        if (kind, name) not in known:
            raise wrong(place, f"names no {kind} among the tools: '{name}'")
    several = parallel is not False and not chosen.one and not legacy
    return Offer(offered, chosen.choice, several, legacy)


def read_name(said: Any, where: str, longest: int = MOST_NAME) -> str:
    """A tool's name. Raises `InvalidParameter`."""
    if not isinstance(said, str) or len(said) > longest or not NAME.fullmatch(said):
        raise wrong(where, f"must be 1 to {longest} letters, digits, '_' or '-'")
    return said


def read_list(said: Any, where: str, read: Callable[[Any, str], Tool]) -> tuple[Tool, ...] | None:
    """Tools with different names; None where nothing was sent. Raises `InvalidParameter`."""
    if said is None:
        return None
    if not isinstance(said, list) or len(said) > MOST_TOOLS:
        raise wrong(where, f"must be a list of at most {MOST_TOOLS}")
    tools: tuple[Tool, ...] = tuple(read(entry, f"{where}[{i}]") for i, entry in enumerate(said))
    names = [tool.name for tool in tools]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise wrong(f"{where}[{i}]", f"has the name of another one: '{name}'")
    return tools


def _tool(said: Any, where: str) -> Tool:
    if not isinstance(said, dict):
        raise wrong(where, "must be an object")
    kind = said.get("type")
    if kind not in ("function", "custom"):
        raise wrong(f"{where}.type", f"must be function or custom, not {cut(repr(kind))}")
    inner = read_object(said, where, {"type", kind}).get(kind)
    return (read_function if kind == "function" else _custom)(inner, f"{where}.{kind}")


def read_function(said: Any, where: str, longest: int = MOST_NAME) -> Tool:
    """A function, from the object that describes it. Raises `InvalidParameter`."""
    inner = read_object(said, where, {"name", "description", "parameters", "strict"})
    name = read_name(inner.get("name"), f"{where}.name", longest)
    for key, kind, noun in (("description", str, "a string"), ("strict", bool, "true or false")):
        if not isinstance(inner.get(key), kind | None):
            raise wrong(f"{where}.{key}", f"must be {noun}")
    schema = inner.get("parameters")
    if not isinstance(schema, dict | None):
        raise wrong(f"{where}.parameters", "must be a JSON schema, an object")
    if schema is not None and schema.get("type", "object") != "object":
        raise wrong(f"{where}.parameters.type", f"must be object, not {cut(repr(schema['type']))}")
    tool = Tool.from_function({**inner, "name": name}, f"{where}.parameters")
    if inner.get("strict"):
        return tool
    enforced, dropped = enforceable(tool.schema)
    current().not_enforced += tuple(f"{where}.parameters.{path}" for path in dropped)
    return replace(tool, schema=enforced)


def _custom(said: Any, where: str) -> Tool:
    inner = read_object(said, where, {"name", "description", "format"})
    form = inner.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        at = f"{where}.format.grammar"
        grammar = read_object(read_object(form, f"{where}.format", {"type", "grammar"}).get("grammar"), at,
                              {"syntax", "definition"})  # fmt: skip
        return read_custom(inner, where, grammar, at)
    return read_custom(inner, where, None, "")


def read_custom(
    inner: Mapping[str, Any], where: str, form: Mapping[str, Any] | None, at: str, longest: int = MOST_NAME
) -> Tool:
    """A custom tool. Raises `InvalidParameter`.

    Args:
        inner: the object that describes it.
        where: the path of `inner`.
        form: the object with 'syntax' and 'definition'; None where 'format' is no grammar.
        at: the path of `form`.
        longest: most characters of its name.
    """
    name = read_name(inner.get("name"), f"{where}.name", longest)
    description = inner.get("description")
    if not isinstance(description, str | None):
        raise wrong(f"{where}.description", "must be a string")
    syntax, grammar = _text_format(inner.get("format"), f"{where}.format") if form is None else _grammar(form, at)
    rule = f"The input matches this {syntax} grammar:\n{grammar}" if grammar else ""
    # Chat templates know functions only, so a custom tool is one with a single text.
    parameters = {"type": "object", "properties": {INPUT: {"type": "string"}}, "required": [INPUT]}
    told = {"name": name, "description": "\n".join(filter(None, [description, rule])), "parameters": parameters}
    return Tool(
        name, f"{at}.definition" if grammar else where, "custom", syntax=syntax, grammar=grammar,
        definition={"type": "function", "function": told},
    )  # fmt: skip


def _text_format(said: Any, where: str) -> tuple[Syntax, str]:
    if said is None:
        return "text", ""
    if not isinstance(said, dict) or said.get("type") != "text":
        raise wrong(f"{where}.type", "must be text or grammar")
    read_object(said, where, {"type"})
    return "text", ""


def _grammar(form: Mapping[str, Any], at: str) -> tuple[Syntax, str]:
    syntax, definition = form.get("syntax"), form.get("definition")
    if syntax not in ("lark", "regex"):
        raise wrong(f"{at}.syntax", f"must be lark or regex, not {cut(repr(syntax))}")
    if not isinstance(definition, str) or not definition:
        raise wrong(f"{at}.definition", "must be a string that is not empty")
    return syntax, definition


def _allowed(said: Mapping[str, Any]) -> Chosen:
    where = "tool_choice.allowed_tools"
    inner = read_object(read_object(said, "tool_choice", {"type", "allowed_tools"}).get("allowed_tools"), where,
                        {"mode", "tools"})  # fmt: skip
    mode, tools = inner.get("mode"), inner.get("tools")
    if mode not in ("auto", "required"):
        raise wrong(f"{where}.mode", f"must be auto or required, not {cut(repr(mode))}")
    if not isinstance(tools, list) or not 1 <= len(tools) <= MOST_TOOLS:
        raise wrong(f"{where}.tools", f"must be a list of 1 to {MOST_TOOLS} tools")
    named: Sequence[tuple[str, str, str]] = [_named(one, f"{where}.tools[{i}]") for i, one in enumerate(tools)]
    return Chosen(ToolChoice(mode, tuple(name for _, name, _ in named)), tuple(named))


def _named(said: Any, where: str) -> tuple[str, str, str]:
    """Kind, name and place of a tool that a choice names."""
    kind = said.get("type") if isinstance(said, dict) else None
    if kind not in ("function", "custom"):
        raise wrong(f"{where}.type", f"must be function or custom, not {cut(repr(kind))}")
    inner = read_object(read_object(said, where, {"type", kind}).get(kind), f"{where}.{kind}", {"name"})
    return kind, read_name(inner.get("name"), f"{where}.{kind}.name"), f"{where}.{kind}.name"
