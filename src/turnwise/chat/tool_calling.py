"""Tools in a turn: what its answers are held to, and how their text falls into what is said and what is called."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import ToolCall
from turnwise.core.ports import Constraint
from turnwise.core.tools import Tool, ToolCallDelta
from turnwise.text.constraints.grammar_compiler import GrammarCompiler
from turnwise.text.constraints.tool_call_grammar import build_tool_call_grammar
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.streaming.tool_call_parser import ToolCallParser


def visible_tools(turn: ChatRequest) -> tuple[Tool, ...]:
    """The tools that the model is told of: all, also those it may not call, but none where it may call none."""
    return () if turn.tool_choice.mode == "none" else turn.tools


def callable_tools(turn: ChatRequest) -> tuple[Tool, ...]:
    """The tools that the answer may call."""
    names = turn.tool_choice.tool_names
    return tuple(tool for tool in visible_tools(turn) if names is None or tool.name in names)


def tool_constraint(turn: ChatRequest, renderer: Renderer, grammars: GrammarCompiler) -> Constraint | None:
    """What the answer is held to; None where no tool may be called.

    Raises:
        InvalidParameter: arguments that cannot be enforced, or fields that contradict each other.
    """
    tools, format = callable_tools(turn), turn.format
    if not tools:
        return None
    forced = turn.tool_choice.mode == "required"
    if turn.continue_final_message:
        raise InvalidParameter("tools", "Tools can be called in a new message only, not where the last one goes on.")
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
        forced=forced, parallel=turn.parallel_tool_calls, content=content,
    )  # fmt: skip


@dataclass(frozen=True)
class ToolCallReader:
    """How the answers of one turn are read; each gets a splitter of its own."""

    tools: tuple[Tool, ...]
    anywhere: bool
    renderer: Renderer

    @classmethod
    def of(cls, turn: ChatRequest, renderer: Renderer) -> "ToolCallReader | None":
        """None where no tool may be called: then all of an answer is said."""
        tools = callable_tools(turn)
        return cls(tools, turn.format is None, renderer) if tools else None

    def split(self) -> "ToolCallStream":
        """The splitter of one answer."""
        return ToolCallStream(ToolCallParser(self.renderer.tool_call_format, self.tools, anywhere=self.anywhere))

    @property
    def markers(self) -> dict[int, str]:
        """The special tokens that calls are written with, which are read though they are never shown."""
        form, tokenizer = self.renderer.tool_call_format, self.renderer.tokenizer
        written = f"{form.marker}{form.separator}{form.closing}"
        found = {tokenizer.token_to_id(token): token for token in tokenizer.special_tokens if token in written}
        return {id: token for id, token in found.items() if id is not None}


class ToolCallStream:
    """Splits one answer; gives its calls their ids."""

    def __init__(self, splitter: ToolCallParser) -> None:
        self._splitter = splitter

    @property
    def is_calling(self) -> bool:
        """Whether what was said is over."""
        return self._splitter.is_calling

    @property
    def is_complete(self) -> bool:
        """Whether there are calls and the last one is complete."""
        return self._splitter.is_complete

    def push(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """What is said and called with this text."""
        said, pieces = self._splitter.push(text)
        return said, [replace(one, id=f"call_{secrets.token_hex(12)}") if one.name else one for one in pieces]

    def flush(self) -> str:
        """What was held back in vain."""
        return self._splitter.flush()


def merge_tool_call_deltas(pieces: Iterable[ToolCallDelta]) -> tuple[ToolCall, ...]:
    """The calls of one answer, put together."""
    calls: list[tuple[ToolCallDelta, list[str]]] = []
    for piece in pieces:
        if piece.name is not None:
            calls.append((piece, []))
        calls[piece.index][1].append(piece.arguments)
    return tuple(
        ToolCall(first.id or "", first.name or "", "".join(arguments), first.kind) for first, arguments in calls
    )


def to_tool_call_deltas(calls: Sequence[ToolCall]) -> list[ToolCallDelta]:
    """Whole calls as a stream begins and continues them."""
    pieces: list[ToolCallDelta] = []
    for index, call in enumerate(calls):
        pieces.append(ToolCallDelta(index, id=call.id, name=call.name, kind=call.kind))
        pieces.append(ToolCallDelta(index, call.arguments, kind=call.kind))
    return pieces
