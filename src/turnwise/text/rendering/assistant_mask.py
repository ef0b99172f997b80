"""Converts character spans to token spans, and builds the mask of the assistant's tokens from them."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence

from turnwise.core.messages import Message
from turnwise.text.rendering.content_spans import CharSpan
from turnwise.text.tokenization.encoding import Encoding

TokenSpan = tuple[int, int]


def find_token_span(encoding: Encoding, span: CharSpan | None) -> TokenSpan | None:
    """The ids that encode any character of the span. A token across its border belongs to it."""
    if span is None:
        return None
    first = bisect_right(encoding.offsets, span[0], key=lambda offset: offset[1])
    last = bisect_left(encoding.offsets, span[1], key=lambda offset: offset[0])
    return (first, last) if first < last else None


def build_assistant_mask(
    ids: Sequence[int], messages: Sequence[Message], spans: Sequence[TokenSpan | None], special_ids: Collection[int]
) -> list[bool]:
    """Mask of the ids that the assistant generates: each content up to and including the token that ends its turn.

    Args:
        ids: token ids of the conversation.
        messages: its messages.
        spans: for each message, the span of its content.
        special_ids: ids of special tokens, any of which may end a turn.
    """
    mask = [False] * len(ids)
    for number, (message, span) in enumerate(zip(messages, spans, strict=True)):
        if message.role != "assistant" or span is None:
            continue
        start, content_end = span
        next_start = next((later[0] for later in spans[number + 1 :] if later is not None), len(ids))
        turn_ends = (index + 1 for index in range(content_end, next_start) if ids[index] in special_ids)
        end = next(turn_ends, content_end)
        mask[start:end] = [True] * (end - start)
    return mask
