"""Formats of tool calls in model output. One file per format.

A format module defines `FORMAT` and `detect(template)`, which is True if a chat template uses the format. In every
format a response is optional text, the marker, an opening, calls with separators and the closing. A call is
`{"name": …, KEY: …}`. For templates with another format or none, `text.rendering.tool_prompt` writes definitions and
calls as text, in the default format.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from turnwise.core.plugins import PluginGroup
from turnwise.text.chat_templates.chat_template import find_template_variables

DEFAULT_FORMAT = "hermes"
_NAME = re.compile(r'\\?"name\\?"\s*:')


@dataclass(frozen=True, slots=True)
class ToolCallFormat:
    """A tool-call format.

    Attributes:
        marker: text before the calls; empty if a call is the complete response.
        openings: possible texts between the marker and the first call.
        separator: text between calls; contains no brace.
        closing: text after the last call.
        arguments_key: JSON key of the arguments.
        parallel_calls: a message may have several calls.
        call_id: converts a call id to the form that the template requires.
    """

    marker: str
    openings: tuple[str, ...]
    separator: str
    closing: str
    arguments_key: str = "arguments"
    parallel_calls: bool = True
    call_id: Callable[[str], str] = str


class ToolCallFormatModule(Protocol):
    """Interface of a format module."""

    FORMAT: ToolCallFormat

    def detect(self, template: str) -> bool:
        """True if a chat template writes tool calls in this format."""


TOOL_CALL_FORMATS: PluginGroup[ToolCallFormatModule] = PluginGroup(
    "tool-call format", "tool_call_formats", (__name__, __path__), requires=("FORMAT", "detect")
)


def load_format(name: str) -> ToolCallFormat:
    """The format `name`. Raises `UnknownPlugin`."""
    return TOOL_CALL_FORMATS.load(name).FORMAT


@lru_cache(maxsize=32)
def detect_format(template: str) -> ToolCallFormat | None:
    """The format of a template that renders tools itself; None if it does not, or in an unknown format."""
    if "tools" not in find_template_variables(template) or "tool_calls" not in template or not _NAME.search(template):
        return None
    matches = [module.FORMAT for module in TOOL_CALL_FORMATS.all().values() if module.detect(template)]
    return matches[0] if len(matches) == 1 else None
