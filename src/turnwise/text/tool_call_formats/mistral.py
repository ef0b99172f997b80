"""Mistral, from Mistral 7B v0.3 on: a marker, then a JSON list of calls (Mistral AI 2024)."""

import hashlib
import re

from turnwise.text.tool_call_formats import ToolCallFormat

_VALID_ID = re.compile("[a-zA-Z0-9]{9}")


def _to_valid_id(id: str) -> str:
    """The id if it has nine letters and digits, as the templates require, else nine characters of its hash."""
    return id if _VALID_ID.fullmatch(id) else hashlib.sha256(id.encode()).hexdigest()[:9]


FORMAT = ToolCallFormat(marker="[TOOL_CALLS]", openings=("[", " ["), separator=", ", closing="]", call_id=_to_valid_id)


def detect(template: str) -> bool:
    """True if the template writes the marker with a JSON list. The latest templates use no list."""
    return "[TOOL_CALLS]" in template and "[ARGS]" not in template
