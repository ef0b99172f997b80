"""Separates streamed output into content and tool calls.

The output follows the grammar of `text.constraints.tool_call_grammar`; it may end anywhere. The result does not depend
on the chunks of the output.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from turnwise.core.tools import Tool, ToolCallDelta
from turnwise.text.constraints.tool_call_grammar import RAW_CLOSING, RAW_OPENING
from turnwise.text.streaming.argument_readers import JsonObjectReader, JsonStringReader, RawInputReader
from turnwise.text.streaming.stop_string_scanner import StopStringScanner
from turnwise.text.tool_call_formats import ToolCallFormat

_NAME_PATTERN = re.compile(r'"name": "([^"]*)"')


class ToolCallParser:
    """Parses the output of one response into content and tool-call deltas."""

    def __init__(self, tool_call_format: ToolCallFormat, tools: Sequence[Tool], *, anywhere: bool = True) -> None:
        """Start a response.

        Args:
            tool_call_format: format of the tool calls.
            tools: tools that may be called.
            anywhere: tool calls may follow content. Otherwise a response with tool calls starts with one.
        """
        self._format = tool_call_format
        self._tools: Mapping[str, Tool] = {tool.name: tool for tool in tools}
        self._anywhere = anywhere and bool(tool_call_format.marker)
        # Templates write the marker on a line of its own: a line break before it is not part of the content.
        self._scanner = StopStringScanner(
            [tool_call_format.marker, f"\n{tool_call_format.marker}"] if self._anywhere else []
        )
        self._start_text: str | None = None if self._anywhere else ""  # until the kind of output is clear
        self._is_calling = False
        self._call_text: str | None = None  # text of the current call outside its arguments
        self._reader: JsonObjectReader | JsonStringReader | RawInputReader | None = None
        self._in_call = False
        self._num_calls = 0

    @property
    def is_complete(self) -> bool:
        """True if there is a call and the arguments of the last one are complete."""
        has_closing = isinstance(self._reader, RawInputReader) and self._reader.has_closing
        return self._num_calls > 0 and (has_closing or not self._in_call)

    @property
    def is_calling(self) -> bool:
        """True after the start of the first call."""
        return self._is_calling

    def push(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """Add output. Returns the content and tool-call deltas that are certain now."""
        content: list[str] = []
        calls: list[ToolCallDelta] = []
        for character in text:
            if self._is_calling:
                calls.extend(self._push_call(character))
            else:
                content.append(self._push_content(character))
        return "".join(content), _merge_arguments(calls)

    def flush(self) -> str:
        """Buffered content at the end."""
        content, self._start_text = self._start_text or "", None
        return "" if self._is_calling else content + self._scanner.flush()

    def _push_content(self, character: str) -> str:
        if self._start_text is None:
            content = self._scanner.push(character)
            self._is_calling = self._scanner.has_stopped
            return content
        self._start_text += character
        marker = self._format.marker or "{"
        if marker.startswith(self._start_text):
            if marker != self._start_text:
                return ""
            self._is_calling = True
            self._call_text = None if self._format.marker else "{"
            return ""
        content, self._start_text = self._start_text, None
        return content

    def _push_call(self, character: str) -> list[ToolCallDelta]:
        if self._reader is not None:
            arguments = self._reader.push(character)
            if self._reader.is_done:
                self._reader, self._in_call = None, False
            return [ToolCallDelta(self._num_calls - 1, arguments, kind=self._tool.kind)] if arguments else []
        if self._call_text is None:
            if character == "{":  # separators contain no brace
                self._call_text = "{"
            return []
        self._call_text += character
        if character == '"' and not self._in_call and (match := _NAME_PATTERN.search(self._call_text)):
            return [self._start_call(match[1])]
        if self._in_call and self._call_text.endswith(f'"{self._format.arguments_key}": '):
            self._reader = self._create_reader(self._tool)
            self._call_text = None
        return []

    def _start_call(self, name: str) -> ToolCallDelta:
        self._in_call, self._tool = True, self._tools.get(name, Tool(name))
        self._num_calls += 1
        return ToolCallDelta(self._num_calls - 1, name=name, kind=self._tool.kind)

    def _create_reader(self, tool: Tool) -> JsonObjectReader | JsonStringReader | RawInputReader:
        if tool.syntax == "lark":
            return RawInputReader(RAW_OPENING, RAW_CLOSING + self._format.closing)
        return JsonObjectReader() if tool.kind == "function" else JsonStringReader()


def _merge_arguments(deltas: Sequence[ToolCallDelta]) -> list[ToolCallDelta]:
    """Merge consecutive argument deltas of the same call."""
    merged: list[ToolCallDelta] = []
    for delta in deltas:
        if merged and delta.name is None and merged[-1].name is None and merged[-1].index == delta.index:
            merged[-1] = replace(merged[-1], arguments=merged[-1].arguments + delta.arguments)
        else:
            merged.append(delta)
    return merged
