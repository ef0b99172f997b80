"""Mistral from version 0.3 of its 7B on: a marker, then a JSON list of calls (Mistral AI 2024)."""

import hashlib
import re

from turnwise.text.tool_call_formats import ToolCallFormat

_FITTING = re.compile("[a-zA-Z0-9]{9}")


def _nine(id: str) -> str:
    """The id itself where it has nine letters and digits, which its templates demand, else nine made of it."""
    return id if _FITTING.fullmatch(id) else hashlib.sha256(id.encode()).hexdigest()[:9]


FORMAT = ToolCallFormat(marker="[TOOL_CALLS]", openings=("[", " ["), separator=", ", closing="]", call_id=_nine)


def detect(template: str) -> bool:
    """Whether the template writes the marker; the latest ones put no JSON list after it."""
    return "[TOOL_CALLS]" in template and "[ARGS]" not in template
