"""Hermes 2 and 3, Qwen 2.5 and 3: every call a JSON object between tags of its own (Nous Research 2024)."""

from turnwise.text.tool_call_formats import ToolCallFormat

FORMAT = ToolCallFormat(
    marker="<tool_call>", openings=("\n",), separator="\n</tool_call>\n<tool_call>\n", closing="\n</tool_call>"
)


def detect(template: str) -> bool:
    """Whether the template tells of the tags; newer ones put something else than JSON between them."""
    return "<tool_call>" in template and not any(other in template for other in ("<function=", "<arg_key>"))
