"""Encodes a rendered text with breaks, where no special token may be recognized, and splits.

At a break, a sentinel is inserted, so that the tokenizer does not see the text of a special token; the sentinel's ids
are removed afterwards. At a split, the text is encoded in two parts, as if the second part did not exist yet.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from turnwise.core.errors import TemplateError
from turnwise.text.rendering.content_spans import BREAK_SENTINEL
from turnwise.text.tokenization.encoding import Encoding
from turnwise.text.tokenization.tokenizer import Tokenizer


def encode_segments(
    tokenizer: Tokenizer,
    text: str,
    breaks: Sequence[int],
    splits: Sequence[int] = (),
    *,
    max_tokens: int | None = None,
) -> Encoding:
    """Encode a rendered text. Special tokens in it are recognized, except at breaks.

    Args:
        tokenizer: the tokenizer.
        text: output of the template.
        breaks: character positions of breaks, in ascending order.
        splits: character positions of splits, in ascending order.
        max_tokens: maximum number of ids; checked only if there are neither breaks nor splits.

    Raises:
        TooManyTokens: there are more than `max_tokens`.
        TemplateError: the tokenizer merges a sentinel with the text around it.
    """
    if not breaks and not splits:
        return tokenizer.encode_with_offsets(text, allow_special=True, max_tokens=max_tokens)
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for start, end in pairwise([0, *splits, len(text)]):
        inner = list(breaks[bisect_right(breaks, start) : bisect_left(breaks, end)])
        # A sentinel at the start: without it, tokenizers would treat the segment as the start of a text.
        positions = [start, *inner] if start else inner
        segment = encode_with_breaks(tokenizer, text[start:end], [position - start for position in positions])
        ids.extend(segment.ids)
        offsets.extend((start + first, start + last) for first, last in segment.offsets)
    return Encoding(ids, offsets)


def encode_with_breaks(tokenizer: Tokenizer, text: str, breaks: Sequence[int]) -> Encoding:
    """Encode with a sentinel at each break, and remove the sentinels' ids. Raises as `encode_segments` does."""
    if not breaks:
        return tokenizer.encode_with_offsets(text, allow_special=True)
    marked = BREAK_SENTINEL.join(text[start:end] for start, end in pairwise([0, *breaks, len(text)]))
    sentinels = [position + number for number, position in enumerate(breaks)]  # positions in the marked text
    encoding = tokenizer.encode_with_offsets(marked, allow_special=True)
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        num_before, num_until = bisect_left(sentinels, start), bisect_left(sentinels, end)
        if num_before == num_until:
            ids.append(id)
            offsets.append((start - num_before, end - num_before))
        elif end - start > num_until - num_before:  # the token contains a sentinel and text
            raise TemplateError(
                "A message contains the text of a special token, and this model's tokenizer cannot encode it as plain "
                "text. Remove the token's text from the message."
            )
    return Encoding(ids, offsets)
