"""The grammar of an answer that may or must call tools: what a dialect writes, with arguments of each tool's schema."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.tools import Tool
from turnwise.text.constraints.grammar_compiler import JSON_STYLE, GrammarCompiler, GrammarConstraint
from turnwise.text.constraints.json_schema import SchemaError, normalize_schema
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tool_call_formats import ToolCallFormat

MOST_BLAMING = 2.0  # seconds of work to find out which tool's arguments cannot be enforced
# What a custom tool's input stands between when its grammar is a context-free one, which fits into no JSON text.
RAW_OPENING, RAW_CLOSING = "\n", "\n}"


def build_tool_call_grammar(
    grammars: GrammarCompiler,
    tokenizer: Tokenizer,
    tool_call_format: ToolCallFormat,
    tools: Sequence[Tool],
    *,
    forced: bool,
    parallel: bool,
    content: Mapping[str, Any] | None = None,
) -> GrammarConstraint:
    """The grammar of an answer.

    Args:
        grammars: compiles for the tokenizer.
        tokenizer: some have a dialect's markers as special tokens.
        dialect: how calls are written.
        tools: those that may be called.
        forced: an answer without a call is none.
        parallel: several calls may follow each other, where the dialect has such answers.
        content: the JSON schema of an answer that does not call; None for any text.

    Raises:
        InvalidParameter: arguments that cannot be enforced, naming the tool's place in the request.
    """
    _refuse_open_patterns(tools)
    try:
        source, others = _source(tokenizer, tool_call_format, tools, forced, parallel, content)
        return grammars.compile_tool_calls(source, others, "tools")
    except (InvalidParameter, SchemaError, RecursionError) as error:
        began = time.thread_time()
        for tool in tools:  # whose fault was it?
            if time.thread_time() - began > MOST_BLAMING:
                break
            if tool.syntax == "lark":
                grammars.compile_lark(tool.grammar, tool.param)
            elif tool.syntax == "regex":
                grammars.compile_regex(tool.grammar, tool.param)
            else:
                grammars.compile_json_schema(tool.arguments_schema, tool.param, arguments=True)
        if content is not None:
            grammars.compile_json_schema(content, "response_format")
        if isinstance(error, InvalidParameter):
            raise
        raise InvalidParameter("tools", "'tools' has a schema that is nested too deeply.") from None


def _refuse_open_patterns(tools: Sequence[Tool]) -> None:
    """A bracket that closes nothing would close the one we put around the pattern."""
    for tool in tools:
        if tool.syntax != "regex":
            continue
        depth, in_class = 0, False
        for part in re.findall(r"\\.|.", tool.grammar, re.DOTALL):
            in_class = part == "[" or (in_class and part != "]")
            depth += 0 if in_class else (part == "(") - (part == ")")
            if depth < 0:
                break
        if depth:
            raise InvalidParameter(
                tool.param, f"'{tool.param}' cannot be enforced: its round brackets do not match.",
                code="invalid_grammar",
            )  # fmt: skip


def _source(
    tokenizer: Tokenizer,
    tool_call_format: ToolCallFormat,
    tools: Sequence[Tool],
    forced: bool,
    parallel: bool,
    content: Mapping[str, Any] | None,
) -> tuple[str, dict[str, str]]:
    marker = _spelled(tool_call_format.marker, tokenizer)
    anything = r"/(.|\n)*/" if tool_call_format.marker else r"/([^{](.|\n)*)?/"  # a brace begins a call
    rules, others = [f"ANYTHING: {anything}"], {}
    if forced:
        rules.append(f"start: {marker} calls")
    elif content is not None:
        rules += [f"start: content | {marker} calls", "content: " + _json(content)]
    elif not tool_call_format.marker:
        rules.append("start: ANYTHING | calls")
    elif marker == json.dumps(tool_call_format.marker):
        rules += ["start: ANYTHING | announced calls", f"announced[lazy]: ANYTHING {marker}"]
    else:  # a special token ends a text by itself
        rules.append(f"start: ANYTHING | ANYTHING {marker} calls")
    openings = " | ".join(_spelled(opening, tokenizer) for opening in tool_call_format.openings)
    # A raw input may hold what would end it, so it is only told apart as the last of an answer.
    plain = [i for i, tool in enumerate(tools) if tool.syntax != "lark"]
    raw = [i for i, tool in enumerate(tools) if tool.syntax == "lark"]
    between, closing = _spelled(tool_call_format.separator, tokenizer), _spelled(tool_call_format.closing, tokenizer)
    earlier = f"(call {between})* " if parallel and tool_call_format.parallel_calls and plain else ""
    rules.append(f"calls: ({openings}) {earlier}last {closing}")
    rules.append(f"last: {' | '.join([*(['call'] if plain else []), *(['raw'] if raw else [])])}")
    if plain:
        rules.append("call: " + json.dumps('{"name": "') + f" ({' | '.join(f'call_{i}' for i in plain)}) " + '"}"')
    if raw:
        rules.append("raw: " + json.dumps('{"name": "') + f" ({' | '.join(f'raw_{i}' for i in raw)}) ")
    for i in plain:
        head = f'{tools[i].name}", "{tool_call_format.arguments_key}": '
        rules.append(f"call_{i}: {json.dumps(head)} {_json(tools[i].arguments_schema, arguments=True)}")
    for i in raw:
        head = f'{tools[i].name}", "{tool_call_format.arguments_key}": {RAW_OPENING}'
        rules.append(f"raw_{i}: {json.dumps(head)} @input_{i} {json.dumps(RAW_CLOSING)}")
        others[f"input_{i}"] = tools[i].grammar
    return "\n".join(rules), others


def _spelled(text: str, tokenizer: Tokenizer) -> str:
    """A literal of the grammar; special tokens in it stand for themselves."""
    special = "|".join(map(re.escape, tokenizer.special_tokens))
    parts = re.split(f"({special})", text) if special else [text]
    spelled = [
        f"<[{tokenizer.token_to_id(part)}]>"
        if part in tokenizer.special_tokens
        else json.dumps(part, ensure_ascii=False)
        for part in parts
        if part
    ]
    return " ".join(spelled) or '""'


def _json(schema: Mapping[str, Any], *, arguments: bool = False) -> str:
    return "%json " + json.dumps({**normalize_schema(schema, arguments=arguments), "x-guidance": JSON_STYLE})
