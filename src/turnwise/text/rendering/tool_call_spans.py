"""Finds the tool calls that a chat template renders from message fields, for the loss mask and scoring.

A tool call is not part of a content, so sentinels do not find it. Its span is the text from the prompt of the message
to the token that ends the turn.
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

    A message is omitted if the text before it differs from its prompt in serving, since training on it would not match
    inference.

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
