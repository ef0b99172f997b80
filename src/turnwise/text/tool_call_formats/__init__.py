"""One file per way of writing tool calls. The folder is the registry.

A dialect file has `DIALECT`, the form of its calls, and `detect(template)`, whether a chat template's source speaks it.
In every dialect known here an answer is some text, then an opening, then calls with `between` among them, then
`closing`; a call is `{"name": …, KEY: …}`. A template that speaks none of them is not relied on for tools: definitions
and calls are laid out by `text.tool_layout`, in the default dialect.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules

from turnwise.text.chat_templates.chat_template import find_template_variables

DEFAULT_FORMAT = "hermes"
_NAME = re.compile(r'\\?"name\\?"\s*:')


@dataclass(frozen=True, slots=True)
class ToolCallFormat:
    """How calls are written.

    Attributes:
        marker: what announces calls; empty where they are the whole answer.
        openings: what may stand between the marker and the first call.
        between: what parts two calls; it holds no brace.
        closing: what follows the last one.
        key: what the arguments are called.
        several: whether its templates take more than one call in a message.
        call_id: spells a call's id as the template demands it.
    """

    marker: str
    openings: tuple[str, ...]
    separator: str
    closing: str
    arguments_key: str = "arguments"
    parallel_calls: bool = True
    call_id: Callable[[str], str] = str


def names() -> list[str]:
    """The dialects there are."""
    return sorted(module.name for module in iter_modules(__path__))


def tool_call_format(name: str) -> ToolCallFormat:
    """The dialect of this name."""
    found: ToolCallFormat = import_module(f"{__name__}.{name}").FORMAT
    return found


@lru_cache(maxsize=32)
def detect_format(template: str) -> ToolCallFormat | None:
    """The dialect of a template that lays tools out itself; None where it does not, or in a way not known here."""
    if "tools" not in find_template_variables(template) or "tool_calls" not in template or not _NAME.search(template):
        return None
    found = [name for name in names() if import_module(f"{__name__}.{name}").detect(template)]
    return tool_call_format(found[0]) if len(found) == 1 else None
