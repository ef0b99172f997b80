"""Keeps the text of special tokens in messages plain text: only the template may write special tokens."""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Message
from turnwise.text.rendering.content_spans import BREAK_SENTINEL, CharSpan, strip_sentinels
from turnwise.text.tokenization.encoding import Encoding


def find_breaks(
    messages: Sequence[Message],
    text: str,
    apply: Callable[[Sequence[Message]], str],
    special_tokens: tuple[str, ...],
) -> list[int]:
    """Character positions in `text` inside special tokens that messages spell, for `encode_segments`.

    Args:
        messages: messages of the conversation.
        text: the rendered conversation.
        apply: renders messages with the same template and options.
        special_tokens: texts of the special tokens.

    Raises:
        TemplateError: the template renders a message differently if its special token is interrupted.
    """
    contents = "\0".join(f"{message.content}\0{message.name or ''}" for message in messages)
    if not any(token in contents for token in special_tokens):
        return []
    pattern = _start_pattern(special_tokens)
    marked = apply([_interrupt_special_tokens(message, pattern) for message in messages])
    if strip_sentinels(marked) != text:
        raise TemplateError(
            "A message contains the text of a special token, and the chat template depends on it. Remove the token's "
            "text from the message."
        )
    return [match.start() - number for number, match in enumerate(re.finditer(BREAK_SENTINEL, marked))]


@lru_cache(maxsize=32)
def _start_pattern(special_tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Matches where a special token starts. A look-ahead, so that overlapping tokens are found."""
    return re.compile(f"(?={'|'.join(map(re.escape, special_tokens))})")


def _interrupt_special_tokens(message: Message, pattern: re.Pattern[str]) -> Message:
    """The message with a sentinel after the first character of every special token."""

    def interrupt(text: str) -> str:
        positions = [match.start() + 1 for match in pattern.finditer(text)]
        return BREAK_SENTINEL.join(text[start:end] for start, end in pairwise([0, *positions, len(text)]))

    return replace(message, content=interrupt(message.content), name=message.name and interrupt(message.name))


def reject_mixed_special_tokens(
    encoding: Encoding, text: str, contents: Sequence[CharSpan | None], special_ids: frozenset[int]
) -> None:
    """Reject special tokens that the template and a content form together, or the template by changing a content.

    Raises:
        TemplateError: a special token overlaps a content.
    """
    spans = sorted(span for span in contents if span is not None)
    starts = [start for start, _ in spans]
    for index in [index for index, id in enumerate(encoding.ids) if id in special_ids]:
        start, end = encoding.offsets[index]
        while start < end and text[start].isspace():  # some special tokens include the white space around them
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        nearest = bisect_left(starts, end) - 1
        if nearest >= 0 and spans[nearest][1] > start:
            raise TemplateError("A message and the chat template together spell a special token. Change the message.")
