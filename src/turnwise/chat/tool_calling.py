"""Tool calls of a request: the constraint on the output, and the parser that separates text from tool calls."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.inference import Constraint
from turnwise.core.messages import ToolCall
from turnwise.core.tools import Tool, ToolCallDelta
from turnwise.text.constraints.grammar_compiler import GrammarCompiler
from turnwise.text.constraints.tool_call_grammar import build_tool_call_grammar
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.streaming.tool_call_parser import ToolCallParser


def tool_constraint(request: ChatRequest, renderer: Renderer, grammars: GrammarCompiler) -> Constraint | None:
    """The constraint on a response that may call tools; None if no tool may be called.

    Raises:
        InvalidParameter: the schema of the arguments cannot be enforced, or fields contradict each other.
    """
    tools, format = request.tools.callable, request.output.format
    if not tools:
        return None
    forced = request.tools.choice.mode == "required"
    if request.context.continue_final_message:
        raise InvalidParameter("tools", "'tools' cannot be combined with 'continue_final_message'.")
    content = None
    if format is not None and not forced:
        if format.kind not in ("json_object", "json_schema") or not renderer.tool_call_format.marker:
            reason = "with this model" if renderer.tool_call_format.marker == "" else "in this form"
            raise InvalidParameter(
                format.param, f"'{format.param}' cannot be combined with 'tools' {reason}. Leave one of them out.",
                code="unsupported_value",
            )  # fmt: skip
        content = {"type": "object"} if format.kind == "json_object" else format.source
    return build_tool_call_grammar(
        grammars, renderer.tokenizer, renderer.tool_call_format, tools,
        forced=forced, parallel=request.tools.parallel_calls, content=content,
    )  # fmt: skip


@dataclass(frozen=True)
class ToolCallReader:
    """Creates the tool-call parsers for the choices of one request.

    Attributes:
        tools: tools that may be called.
        anywhere: tool calls may follow text.
        renderer: chat template, with the model's tool-call format.
    """

    tools: tuple[Tool, ...]
    anywhere: bool
    renderer: Renderer

    @classmethod
    def for_request(cls, request: ChatRequest, renderer: Renderer) -> "ToolCallReader | None":
        """The reader of a request; None if no tool may be called, so that all output is text."""
        tools = request.tools.callable
        return cls(tools, request.output.format is None, renderer) if tools else None

    def create_stream(self) -> "ToolCallStream":
        """A parser for one choice."""
        return ToolCallStream(ToolCallParser(self.renderer.tool_call_format, self.tools, anywhere=self.anywhere))

    @property
    def markers(self) -> dict[int, str]:
        """Special tokens of the tool-call format, by id. The parser needs their text, which is otherwise hidden."""
        format, tokenizer = self.renderer.tool_call_format, self.renderer.tokenizer
        format_text = f"{format.marker}{format.separator}{format.closing}"
        ids = {token: tokenizer.token_to_id(token) for token in tokenizer.special_tokens if token in format_text}
        return {id: token for token, id in ids.items() if id is not None}


class ToolCallStream:
    """Separates the output of one choice into text and tool calls, and assigns ids to the calls."""

    def __init__(self, parser: ToolCallParser) -> None:
        self._parser = parser

    @property
    def is_calling(self) -> bool:
        """True after the start of the first tool call."""
        return self._parser.is_calling

    @property
    def is_complete(self) -> bool:
        """True if there is a tool call and the last one is complete."""
        return self._parser.is_complete

    def push(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """Process output. Returns the text and the tool-call deltas that are certain now."""
        content, deltas = self._parser.push(text)
        return content, [
            replace(delta, id=f"call_{secrets.token_hex(12)}") if delta.name else delta for delta in deltas
        ]

    def flush(self) -> str:
        """Buffered text that turned out not to be a tool call."""
        return self._parser.flush()


def merge_tool_call_deltas(deltas: Iterable[ToolCallDelta]) -> tuple[ToolCall, ...]:
    """Combine the deltas of one choice into tool calls."""
    calls: list[tuple[ToolCallDelta, list[str]]] = []
    for delta in deltas:
        if delta.name is not None:
            calls.append((delta, []))
        calls[delta.index][1].append(delta.arguments)
    return tuple(
        ToolCall(first.id or "", first.name or "", "".join(arguments), first.kind) for first, arguments in calls
    )


def to_tool_call_deltas(calls: Sequence[ToolCall]) -> list[ToolCallDelta]:
    """Split complete tool calls into deltas: for each call one with the name and one with the arguments."""
    deltas: list[ToolCallDelta] = []
    for index, call in enumerate(calls):
        deltas.append(ToolCallDelta(index, id=call.id, name=call.name, kind=call.kind))
        deltas.append(ToolCallDelta(index, call.arguments, kind=call.kind))
    return deltas
