"""Splits a rendering after generation prompts, so that training uses the ids that serving uses.

A tokenizer may merge the end of a generation prompt with the start of the reply, for example two line breaks. In
serving the prompt is encoded alone. Where the ids differ, the rendering is encoded in two parts.
"""

from bisect import bisect_left
from collections.abc import Sequence

from turnwise.text.rendering.content_spans import CharSpan
from turnwise.text.rendering.segmented_encoding import encode_with_breaks
from turnwise.text.tokenization.encoding import Encoding
from turnwise.text.tokenization.tokenizer import Tokenizer


def find_prompt_splits(
    tokenizer: Tokenizer,
    text: str,
    encoding: Encoding,
    replies: Sequence[CharSpan],
    *,
    breaks: Sequence[int],
    generation_prompt: str,
) -> list[int]:
    """Ends of generation prompts where `encoding` differs from the prompt alone, as positions in `text`.

    Args:
        tokenizer: the tokenizer.
        text: the rendered conversation.
        encoding: the encoding of `text`.
        replies: character spans of the assistant contents, in order.
        breaks: as in `encode_segments`.
        generation_prompt: text that opens an assistant message.
    """
    splits: list[int] = []
    previous_end = 0
    for start, end in replies:
        position = text.rfind(generation_prompt, previous_end, start)
        previous_end = end
        if position < 0:
            continue
        prompt_end = position + len(generation_prompt)
        num_ids = bisect_left(encoding.offsets, prompt_end, key=lambda offset: offset[0])
        # Text before a special token does not affect the ids after it: comparing from the last one is enough.
        first = num_ids - 1
        while first > 0 and encoding.ids[first] not in tokenizer.special_ids:
            first -= 1
        begin = encoding.offsets[first][0]
        inner = [position - begin for position in breaks if begin < position < prompt_end]
        if encode_with_breaks(tokenizer, text[begin:prompt_end], inner).ids != encoding.ids[first:num_ids]:
            splits.append(prompt_end)
    return splits
