"""Llama 3.1 to 3.3: a response is one call, a JSON object with `parameters` (Meta 2024)."""

from turnwise.text.tool_call_formats import ToolCallFormat

FORMAT = ToolCallFormat(
    marker="", openings=("",), separator="; ", closing="", arguments_key="parameters", parallel_calls=False
)


def detect(template: str) -> bool:
    """True if the template asks for such an object."""
    return "parameters" in template and "<|start_header_id|>" in template and "<tool_call>" not in template
