"""Llama 3.1 to 3.3: one call is the whole answer, a JSON object with `parameters` (Meta 2024)."""

from turnwise.text.tool_call_formats import ToolCallFormat

FORMAT = ToolCallFormat(
    marker="", openings=("",), separator="; ", closing="", arguments_key="parameters", parallel_calls=False
)


def detect(template: str) -> bool:
    """Whether the template tells the model to answer with such an object."""
    return "parameters" in template and "<|start_header_id|>" in template and "<tool_call>" not in template
