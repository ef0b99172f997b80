"""Splits an answer's text, while it arrives, into what is said and the tools that are called.

The text is one that `text.call_grammar` allows, whole or cut off anywhere. How it is cut into pieces makes no
difference.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from turnwise.core.tools import Tool, ToolCallDelta
from turnwise.text.constraints.tool_call_grammar import RAW_CLOSING, RAW_OPENING
from turnwise.text.streaming.argument_readers import JsonObjectReader, JsonStringReader, RawInputReader
from turnwise.text.streaming.detokenizer import StopStringScanner
from turnwise.text.tool_call_formats import ToolCallFormat

_NAMED = re.compile(r'"name": "([^"]*)"')


class ToolCallParser:
    """Takes text, gives content and pieces of calls."""

    def __init__(self, tool_call_format: ToolCallFormat, tools: Sequence[Tool], *, anywhere: bool = True) -> None:
        """Begin an answer.

        Args:
            dialect: how calls are written.
            tools: those that may be called.
            anywhere: calls may follow a text; otherwise only an answer that begins with one holds any.
        """
        self._dialect = tool_call_format
        self._tools: Mapping[str, Tool] = {tool.name: tool for tool in tools}
        self._anywhere = anywhere and bool(tool_call_format.marker)
        # A template writes the marker on a line of its own, so a line break before it is not part of what was said.
        self._scanner = StopStringScanner(
            [tool_call_format.marker, f"\n{tool_call_format.marker}"] if self._anywhere else []
        )
        self._beginning: str | None = None if self._anywhere else ""  # until it is clear what the answer is
        self._calling = False
        self._head: str | None = None  # what stands of a call up to its name
        self._reader: JsonObjectReader | JsonStringReader | RawInputReader | None = None
        self._inside = False
        self._count = 0

    @property
    def is_complete(self) -> bool:
        """Whether there are calls and the last one's arguments are complete."""
        ended = isinstance(self._reader, RawInputReader) and self._reader.ended
        return self._count > 0 and (ended or not self._inside)

    @property
    def is_calling(self) -> bool:
        """Whether what was said is over."""
        return self._calling

    def push(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """The content and the calls' pieces that have become certain."""
        said: list[str] = []
        calls: list[ToolCallDelta] = []
        for character in text:
            if self._calling:
                calls.extend(self._call(character))
            else:
                said.append(self._say(character))
        return "".join(said), _joined(calls)

    def flush(self) -> str:
        """What was held back in vain."""
        said, self._beginning = self._beginning or "", None
        return "" if self._calling else said + self._scanner.flush()

    def _say(self, character: str) -> str:
        if self._beginning is None:
            said = self._scanner.push(character)
            self._calling = self._scanner.has_stopped
            return said
        self._beginning += character
        announced = self._dialect.marker or "{"
        if announced.startswith(self._beginning):
            if announced != self._beginning:
                return ""
            self._calling = True
            self._head = None if self._dialect.marker else "{"
            return ""
        said, self._beginning = self._beginning, None
        return said

    def _call(self, character: str) -> list[ToolCallDelta]:
        if self._reader is not None:
            arguments = self._reader.push(character)
            if self._reader.done:
                self._reader, self._inside = None, False
            return [ToolCallDelta(self._count - 1, arguments, kind=self._named.kind)] if arguments else []
        if self._head is None:
            if character == "{":  # what parts calls holds none
                self._head = "{"
            return []
        self._head += character
        if character == '"' and not self._inside and (named := _NAMED.search(self._head)):
            return [self._begin(named[1])]
        if self._inside and self._head.endswith(f'"{self._dialect.arguments_key}": '):
            self._reader = self._reader_of(self._named)
            self._head = None
        return []

    def _begin(self, name: str) -> ToolCallDelta:
        self._inside, self._named = True, self._tools.get(name, Tool(name))
        self._count += 1
        return ToolCallDelta(self._count - 1, name=name, kind=self._named.kind)

    def _reader_of(self, tool: Tool) -> JsonObjectReader | JsonStringReader | RawInputReader:
        if tool.syntax == "lark":
            return RawInputReader(RAW_OPENING, RAW_CLOSING + self._dialect.closing)
        return JsonObjectReader() if tool.kind == "function" else JsonStringReader()


def _joined(pieces: Sequence[ToolCallDelta]) -> list[ToolCallDelta]:
    """Arguments that follow each other as one piece."""
    joined: list[ToolCallDelta] = []
    for piece in pieces:
        if joined and piece.name is None and joined[-1].name is None and joined[-1].index == piece.index:
            joined[-1] = replace(joined[-1], arguments=joined[-1].arguments + piece.arguments)
        else:
            joined.append(piece)
    return joined
