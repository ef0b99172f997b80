"""Builds the grammar of responses that may or must call tools: a tool-call format with the schema of every tool."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.tools import Tool
from turnwise.text.constraints.grammar_compiler import JSON_STYLE, GrammarCompiler
from turnwise.text.constraints.grammar_constraint import GrammarConstraint
from turnwise.text.constraints.json_schema import normalize_schema
from turnwise.text.constraints.schema_keywords import SchemaError
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tool_call_formats import ToolCallFormat

MAX_DIAGNOSIS_SECONDS = 2.0  # CPU time to find the tool whose arguments cannot be enforced
# Delimiters of a custom tool's input with a context-free grammar. Such a grammar cannot be embedded in a JSON string.
RAW_OPENING, RAW_CLOSING = "\n", "\n}"


def build_tool_call_grammar(
    grammar_compiler: GrammarCompiler,
    tokenizer: Tokenizer,
    tool_call_format: ToolCallFormat,
    tools: Sequence[Tool],
    *,
    forced: bool,
    parallel: bool,
    content: Mapping[str, Any] | None = None,
) -> GrammarConstraint:
    """Build the grammar of a response.

    Args:
        grammar_compiler: compiler for the tokenizer.
        tokenizer: in some tokenizers the markers of a format are special tokens.
        tool_call_format: format of the calls.
        tools: tools that may be called.
        forced: the response must contain a call.
        parallel: the response may contain several calls, if the format supports it.
        content: JSON schema of a response without calls. Default: any text.

    Raises:
        InvalidParameter: a schema or grammar cannot be enforced. The error names the tool's field of the request.
    """
    _reject_unbalanced_patterns(tools)
    try:
        grammar, subgrammars = _build_grammar(tokenizer, tool_call_format, tools, forced, parallel, content)
        return grammar_compiler.compile_tool_calls(grammar, subgrammars, "tools")
    except (InvalidParameter, SchemaError, RecursionError) as error:
        # Compile the tools one by one: the first one that fails raises an error with its own field.
        start = time.thread_time()
        for tool in tools:
            if time.thread_time() - start > MAX_DIAGNOSIS_SECONDS:
                break
            _compile_alone(grammar_compiler, tool)
        if content is not None:
            grammar_compiler.compile_json_schema(content, "response_format")
        if isinstance(error, InvalidParameter):
            raise
        raise InvalidParameter("tools", "'tools' has a schema that is nested too deeply.") from None


def _compile_alone(grammar_compiler: GrammarCompiler, tool: Tool) -> None:
    if tool.syntax == "lark":
        grammar_compiler.compile_lark(tool.grammar, tool.param)
    elif tool.syntax == "regex":
        grammar_compiler.compile_regex(tool.grammar, tool.param)
    else:
        grammar_compiler.compile_json_schema(tool.arguments_schema, tool.param, arguments=True)


def _reject_unbalanced_patterns(tools: Sequence[Tool]) -> None:
    """Reject patterns with unbalanced round brackets, which could close the group that is put around the pattern."""
    for tool in tools:
        if tool.syntax != "regex":
            continue
        depth, in_class = 0, False
        for item in re.findall(r"\\.|.", tool.grammar, re.DOTALL):
            in_class = item == "[" or (in_class and item != "]")
            depth += 0 if in_class else (item == "(") - (item == ")")
            if depth < 0:
                break
        if depth:
            raise InvalidParameter(
                tool.param, f"'{tool.param}' cannot be enforced: its round brackets do not match.",
                code="invalid_grammar",
            )  # fmt: skip


def _build_grammar(
    tokenizer: Tokenizer,
    tool_call_format: ToolCallFormat,
    tools: Sequence[Tool],
    forced: bool,
    parallel: bool,
    content: Mapping[str, Any] | None,
) -> tuple[str, dict[str, str]]:
    """The Lark grammar of a response, and the subgrammars that it refers to."""
    rules = [*_start_rules(tokenizer, tool_call_format, forced, content)]
    subgrammars: dict[str, str] = {}
    openings = " | ".join(_to_literal(opening, tokenizer) for opening in tool_call_format.openings)
    # A raw input may contain its own delimiter, which is unambiguous only at the end of the response.
    json_tools = [i for i, tool in enumerate(tools) if tool.syntax != "lark"]
    raw_tools = [i for i, tool in enumerate(tools) if tool.syntax == "lark"]
    separator = _to_literal(tool_call_format.separator, tokenizer)
    closing = _to_literal(tool_call_format.closing, tokenizer)
    has_several = parallel and tool_call_format.parallel_calls and json_tools
    earlier = f"(call {separator})* " if has_several else ""
    rules.append(f"calls: ({openings}) {earlier}last {closing}")
    rules.append(f"last: {' | '.join([*(['call'] if json_tools else []), *(['raw'] if raw_tools else [])])}")
    name_start = json.dumps('{"name": "')
    if json_tools:
        rules.append(f"call: {name_start} ({' | '.join(f'call_{i}' for i in json_tools)}) " + '"}"')
    if raw_tools:
        rules.append(f"raw: {name_start} ({' | '.join(f'raw_{i}' for i in raw_tools)}) ")
    for i in json_tools:
        head = f'{tools[i].name}", "{tool_call_format.arguments_key}": '
        rules.append(f"call_{i}: {json.dumps(head)} {_json_rule(tools[i].arguments_schema, arguments=True)}")
    for i in raw_tools:
        head = f'{tools[i].name}", "{tool_call_format.arguments_key}": {RAW_OPENING}'
        rules.append(f"raw_{i}: {json.dumps(head)} @input_{i} {json.dumps(RAW_CLOSING)}")
        subgrammars[f"input_{i}"] = tools[i].grammar
    return "\n".join(rules), subgrammars


def _start_rules(
    tokenizer: Tokenizer, tool_call_format: ToolCallFormat, forced: bool, content: Mapping[str, Any] | None
) -> list[str]:
    """Rules for the start of a response: text, content with a schema, and the marker before calls."""
    marker = _to_literal(tool_call_format.marker, tokenizer)
    # Without a marker, a brace at the start begins a call.
    any_text = r"/(.|\n)*/" if tool_call_format.marker else r"/([^{](.|\n)*)?/"
    rules = [f"ANYTHING: {any_text}"]
    if forced:
        return [*rules, f"start: {marker} calls"]
    if content is not None:
        return [*rules, f"start: content | {marker} calls", "content: " + _json_rule(content)]
    if not tool_call_format.marker:
        return [*rules, "start: ANYTHING | calls"]
    if marker == json.dumps(tool_call_format.marker):
        return [*rules, "start: ANYTHING | announced calls", f"announced[lazy]: ANYTHING {marker}"]
    return [*rules, f"start: ANYTHING | ANYTHING {marker} calls"]  # a special token cannot be a part of text


def _to_literal(text: str, tokenizer: Tokenizer) -> str:
    """The text as a literal of the grammar, with special tokens as token ids."""
    pattern = "|".join(map(re.escape, tokenizer.special_tokens))
    pieces = re.split(f"({pattern})", text) if pattern else [text]
    literals = [
        f"<[{tokenizer.token_to_id(piece)}]>"
        if piece in tokenizer.special_tokens
        else json.dumps(piece, ensure_ascii=False)
        for piece in pieces
        if piece
    ]
    return " ".join(literals) or '""'


def _json_rule(schema: Mapping[str, Any], *, arguments: bool = False) -> str:
    return "%json " + json.dumps({**normalize_schema(schema, arguments=arguments), "x-guidance": JSON_STYLE})
