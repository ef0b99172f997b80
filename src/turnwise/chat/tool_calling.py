"""Tools in a turn: what its answers are held to, and how their text falls into what is said and what is called."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from turnwise.core.chat_request import Turn
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import ToolCall
from turnwise.core.ports import Constraint
from turnwise.core.tools import Tool, ToolCallDelta
from turnwise.text.constraints.tool_call_grammar import call_grammar
from turnwise.text.streaming.tool_call_parser import CallSplitter
from turnwise.text.constraints.grammar_compiler import Grammars
from turnwise.text.rendering.renderer import Renderer


def shown(turn: Turn) -> tuple[Tool, ...]:
    """The tools that the model is told of: all, also those it may not call, but none where it may call none."""
    return () if turn.tool_choice.mode == "none" else turn.tools


def callable_tools(turn: Turn) -> tuple[Tool, ...]:
    """The tools that the answer may call."""
    names = turn.tool_choice.tool_names
    return tuple(tool for tool in shown(turn) if names is None or tool.name in names)


def constraint(turn: Turn, renderer: Renderer, grammars: Grammars) -> Constraint | None:
    """What the answer is held to; None where no tool may be called.

    Raises:
        InvalidParameter: arguments that cannot be enforced, or fields that contradict each other.
    """
    tools, format = callable_tools(turn), turn.format
    if not tools:
        return None
    forced = turn.tool_choice.mode == "required"
    if turn.continue_final:
        raise InvalidParameter("tools", "Tools can be called in a new message only, not where the last one goes on.")
    content = None
    if format is not None and not forced:
        if format.kind not in ("json_object", "json_schema") or not renderer.dialect.marker:
            reason = "with this model" if renderer.dialect.marker == "" else "in this form"
            raise InvalidParameter(
                format.param, f"'{format.param}' cannot be combined with 'tools' {reason}. Leave one of them out.",
                code="unsupported_value",
            )  # fmt: skip
        content = {"type": "object"} if format.kind == "json_object" else format.source
    return call_grammar(
        grammars, renderer.tokenizer, renderer.dialect, tools,
        forced=forced, parallel=turn.parallel_tool_calls, content=content,
    )  # fmt: skip


@dataclass(frozen=True)
class CallReading:
    """How the answers of one turn are read; each gets a splitter of its own."""

    tools: tuple[Tool, ...]
    anywhere: bool
    renderer: Renderer

    @classmethod
    def of(cls, turn: Turn, renderer: Renderer) -> "CallReading | None":
        """None where no tool may be called: then all of an answer is said."""
        tools = callable_tools(turn)
        return cls(tools, turn.format is None, renderer) if tools else None

    def split(self) -> "Calls":
        """The splitter of one answer."""
        return Calls(CallSplitter(self.renderer.dialect, self.tools, anywhere=self.anywhere))

    @property
    def markers(self) -> dict[int, str]:
        """The special tokens that calls are written with, which are read though they are never shown."""
        form, tokenizer = self.renderer.dialect, self.renderer.tokenizer
        written = f"{form.marker}{form.between}{form.closing}"
        found = {tokenizer.id_of(token): token for token in tokenizer.special_texts if token in written}
        return {id: token for id, token in found.items() if id is not None}


class Calls:
    """Splits one answer; gives its calls their ids."""

    def __init__(self, splitter: CallSplitter) -> None:
        self._splitter = splitter

    @property
    def calling(self) -> bool:
        """Whether what was said is over."""
        return self._splitter.calling

    @property
    def whole(self) -> bool:
        """Whether there are calls and the last one is complete."""
        return self._splitter.whole

    def push(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """What is said and called with this text."""
        said, pieces = self._splitter.push(text)
        return said, [replace(one, id=f"call_{secrets.token_hex(12)}") if one.name else one for one in pieces]

    def flush(self) -> str:
        """What was held back in vain."""
        return self._splitter.flush()


def gathered_calls(pieces: Iterable[ToolCallDelta]) -> tuple[ToolCall, ...]:
    """The calls of one answer, put together."""
    calls: list[tuple[ToolCallDelta, list[str]]] = []
    for piece in pieces:
        if piece.name is not None:
            calls.append((piece, []))
        calls[piece.index][1].append(piece.arguments)
    return tuple(
        ToolCall(first.id or "", first.name or "", "".join(arguments), first.kind) for first, arguments in calls
    )


def as_pieces(calls: Sequence[ToolCall]) -> list[ToolCallDelta]:
    """Whole calls as a stream begins and continues them."""
    pieces: list[ToolCallDelta] = []
    for index, call in enumerate(calls):
        pieces.append(ToolCallDelta(index, id=call.id, name=call.name, kind=call.kind))
        pieces.append(ToolCallDelta(index, call.arguments, kind=call.kind))
    return pieces
