"""Keys and values of all chats under way, one slot each.

Running chats always occupy the first slots, so a decoding step reads a plain slice: no gathering, no copying. When a
chat leaves, the last one moves into its slot.

Shapes: S slots, B rows in a step, K key/value heads, T new tokens, L tokens kept, D head size.
"""

import torch
from torch import Tensor

from turnwise.models.config import DecoderConfig

GROWTH = 256  # tokens; slots grow in these steps, so short chats take little memory


class SlotCache:
    """One growing block of memory per layer for keys and one for values, `(S, K, L, D)`."""

    def __init__(self, config: DecoderConfig, slots: int, *, dtype: torch.dtype, device: torch.device) -> None:
        self._shape = (slots, config.num_kv_heads, config.head_dim)
        self._dtype, self._device = dtype, device
        self._limit = config.context_length
        self._capacity = 0
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._layers = config.num_layers
        self._rows = slice(0, 0)
        self._starts_B: Tensor | None = None
        self._start = 0
        self._end = 0
        self.reserve(min(GROWTH, self._limit))

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in every slot."""
        if length <= self._capacity:
            return
        capacity = min(self._limit, max(-(-length // GROWTH) * GROWTH, min(2 * self._capacity, self._limit)))
        # Both or neither: running out of memory between the two must leave a cache that still works.
        self._keys, self._values = self._grown(self._keys, capacity), self._grown(self._values, capacity)
        self._capacity = capacity

    def _grown(self, blocks: list[Tensor], capacity: int) -> list[Tensor]:
        slots, heads, size = self._shape
        grown = [
            torch.zeros((slots, heads, capacity, size), dtype=self._dtype, device=self._device)
            for _ in range(self._layers)
        ]
        for new, old in zip(grown, blocks, strict=False):
            new[:, :, : self._capacity] = old
        return grown

    @torch.inference_mode()
    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a slot over another."""
        for block in (*self._keys, *self._values):
            block[target, :, :length] = block[source, :, :length]

    @torch.inference_mode()
    def clear(self, slot: int) -> None:
        """Forget what overflowed: attention gives masked tokens no weight, but 0 · inf is not 0."""
        for block in (*self._keys, *self._values):
            block[slot] = 0

    def prefill(self, slot: int, start: int, count: int) -> None:
        """Point at one slot: the next forward pass writes `count` tokens from `start` on."""
        self.reserve(start + count)
        self._rows, self._starts_B, self._start, self._end = slice(slot, slot + 1), None, start, start + count

    def decode(self, starts_B: Tensor, longest: int) -> None:
        """Point at the first B slots: the next forward pass writes one token to each, at `starts_B`.

        Args:
            starts_B: tokens each slot holds.
            longest: the largest of them.
        """
        self.reserve(longest + 1)
        self._rows, self._starts_B, self._end = slice(0, len(starts_B)), starts_B, longest + 1

    def update(self, layer: int, keys_BKTD: Tensor, values_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store what is new, return what is to be attended to, `(B, K, L, D)` each."""
        out = []
        for block, new in ((self._keys[layer], keys_BKTD), (self._values[layer], values_BKTD)):
            rows = block[self._rows, :, : self._end]
            if self._starts_B is None:
                rows[:, :, self._start :] = new
            else:
                index = self._starts_B.view(-1, 1, 1, 1).expand(-1, new.shape[1], 1, new.shape[3])
                rows.scatter_(2, index, new)
            out.append(rows)
        return out[0], out[1]
