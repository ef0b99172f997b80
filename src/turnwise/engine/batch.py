"""One sequence's share of a forward pass."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple


class BatchEntry(NamedTuple):
    """New tokens of one sequence, to be computed after those that it has in the KV cache.

    Attributes:
        blocks: blocks of the sequence, including those for the new tokens; 32-bit integers.
        start: number of its tokens that are in the cache.
        ids: the new tokens.
        num_outputs: number of last tokens of `ids` to return logits (or hidden states) for.
        encoder_ids: input of the encoder, for encoder-decoder models.
        scope: prefix-cache scope of the request.
        adapter: name of the request's LoRA adapter; empty for none.
    """

    blocks: "array[int]"
    start: int
    ids: Sequence[int]
    num_outputs: int
    encoder_ids: Sequence[int] = ()
    scope: str = ""
    adapter: str = ""
