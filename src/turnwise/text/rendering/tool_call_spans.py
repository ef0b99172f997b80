"""Finds the tool calls that a chat template renders from message fields, for the assistant mask and scoring.

A tool call is not part of a content, so sentinels do not find it. Its span is the text from the prompt of the message
to the token that ends the turn.
"""

from collections.abc import Callable, Sequence

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Message
from turnwise.text.rendering.content_spans import CharSpan

Apply = Callable[[Sequence[Message], bool], str]


def find_tool_call_spans(
    messages: Sequence[Message], text: str, apply: Apply, turn_ends: Sequence[str]
) -> dict[int, CharSpan]:
    """Character span `[start, end)` in `text` of every assistant message with tool calls, by the message's index.

    A message is omitted if the text before it differs from its prompt in serving, since training on it would not match
    inference.

    Args:
        messages: the conversation.
        text: the rendered conversation.
        apply: renders a prefix of the conversation, with or without a generation prompt.
        turn_ends: texts of the special tokens that may end a turn, without those that may end a call.
    """
    spans: dict[int, CharSpan] = {}
    for index, message in enumerate(messages):
        if not message.tool_calls:
            continue
        try:
            prompt, complete = apply(messages[:index], True), apply(messages[: index + 1], False)
        except TemplateError:
            continue
        if not (text.startswith(prompt) and text.startswith(complete) and len(prompt) < len(complete)):
            continue
        turn = text[len(prompt) : len(complete)]
        spans[index] = (len(prompt), len(prompt) + _length_without_end(turn, turn_ends))
    return spans


def _length_without_end(turn: str, turn_ends: Sequence[str]) -> int:
    """Length of a turn without the token that ends it."""
    text = turn.rstrip()
    return len(text) - max((len(token) for token in turn_ends if text.endswith(token)), default=0)
