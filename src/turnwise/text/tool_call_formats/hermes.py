"""Hermes 2 and 3, Qwen 2.5 and 3: each call is a JSON object between its own tags (Nous Research 2024)."""

from turnwise.text.tool_call_formats import ToolCallFormat

FORMAT = ToolCallFormat(
    marker="<tool_call>", openings=("\n",), separator="\n</tool_call>\n<tool_call>\n", closing="\n</tool_call>"
)


def detect(template: str) -> bool:
    """True if the template uses the tags with JSON. Newer templates put other notations between them."""
    return "<tool_call>" in template and not any(tag in template for tag in ("<function=", "<arg_key>"))
