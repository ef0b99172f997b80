"""The characters of tool calls that a chat template writes from fields, so that they can be learned and scored.

A call stands in no message's content, so marks around contents do not find it. It is what the template writes between
the prompt that is served before the message and the token that ends the turn.
"""

from collections.abc import Callable, Sequence

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Message
from turnwise.text.rendering.content_spans import CharSpan

Apply = Callable[[Sequence[Message], bool], str]


def find_tool_call_spans(
    messages: Sequence[Message], text: str, apply: Apply, ends: Sequence[str]
) -> dict[int, CharSpan]:
    """The range `[start, end)` in `text` of every assistant message with tool calls, by the message's index.

    A message is left out where the text before it is not the prompt that is served before it: what is learned there
    would not be what is asked for later.

    Args:
        messages: the conversation.
        text: how the template renders it.
        apply: renders the beginning of the conversation, with or without a generation prompt.
        ends: texts of the special tokens that may end a turn; those that belong to a call do not.
    """
    ranges: dict[int, CharSpan] = {}
    for index, message in enumerate(messages):
        if not message.tool_calls:
            continue
        try:
            prompt, closed = apply(messages[:index], True), apply(messages[: index + 1], False)
        except TemplateError:
            continue
        if not (text.startswith(prompt) and text.startswith(closed) and len(prompt) < len(closed)):
            continue
        written = text[len(prompt) : len(closed)]
        ranges[index] = (len(prompt), len(prompt) + _end_of_call(written, ends))
    return ranges


def _end_of_call(written: str, ends: Sequence[str]) -> int:
    """Where a call ends in what the template wrote for it: before the token that ends the turn, if there is one."""
    text = written.rstrip()
    return len(text) - max((len(token) for token in ends if text.endswith(token)), default=0)
