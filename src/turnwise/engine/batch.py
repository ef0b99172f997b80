"""New tokens of one line, for a pass of the runner."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple


class BatchEntry(NamedTuple):
    """Tokens to be read after those that a line has in the cache.

    Attributes:
        blocks: where the line lies in the cache, these tokens included; 32-bit integers.
        start: how many of its tokens are in there.
        ids: the tokens that come next.
        wanted: the logits after so many of them, the last ones, are wanted.
        source: what an encoder has read, where the model has one.
        scope: with whom that may be shared.
        adapter: what changes the model for it; the empty one is none.
    """

    blocks: "array[int]"
    start: int
    ids: Sequence[int]
    wanted: int
    encoder_ids: Sequence[int] = ()
    scope: str = ""
    adapter: str = ""
