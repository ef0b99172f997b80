"""Keys and values of all chats in blocks, for torch.

Shapes: N tokens that all blocks hold together, B lines, K key/value heads, T new tokens, L tokens kept, D head size.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from turnwise.engine.blocks import BLOCK, blocks_for


class BlockCache:
    """One piece of memory per layer for keys and one for values, `(N, K, D)`."""

    def __init__(
        self, layers: int, heads: int, size: int, blocks: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (blocks * BLOCK, heads, size)
        self._device = device
        self._keys = [_zeros(shape, dtype, device) for _ in range(layers)]
        self._values = [_zeros(shape, dtype, device) for _ in range(layers)]
        self._reads_BL = self._writes_BT = torch.empty(0, dtype=torch.long)

    def point_at(self, tables: Sequence[Sequence[int]], positions_BT: Tensor, longest: int) -> None:
        """The next pass writes at these positions of these lines, and reads the first `longest` of each.

        A shorter line reads what lies in its blocks beyond its end, and is not to look at it.
        """
        count = blocks_for(longest)
        blocks = torch.tensor([[*table[:count], *[table[0]] * (count - len(table))] for table in tables])
        offsets_BL = blocks.to(self._device).unsqueeze(2) * BLOCK + torch.arange(BLOCK, device=self._device)
        self._reads_BL = offsets_BL.view(len(tables), -1)[:, :longest]
        self._writes_BT = self._reads_BL.gather(1, positions_BT)

    def update(self, layer: int, keys_BKTD: Tensor, values_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store what is new, return what is to be attended to, `(B, K, L, D)` each."""
        self._keys[layer][self._writes_BT] = keys_BKTD.transpose(1, 2)
        self._values[layer][self._writes_BT] = values_BKTD.transpose(1, 2)
        return self.held(layer)

    def held(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values that are read, `(B, K, L, D)` each."""
        keys_BLKD, values_BLKD = self._keys[layer][self._reads_BL], self._values[layer][self._reads_BL]
        return keys_BLKD.transpose(1, 2), values_BLKD.transpose(1, 2)

    @torch.inference_mode()
    def copy(self, source: int, target: int) -> None:
        """Copy a block over another."""
        for held_NKD in (*self._keys, *self._values):
            held_NKD[target * BLOCK : (target + 1) * BLOCK] = held_NKD[source * BLOCK : (source + 1) * BLOCK]

    @torch.inference_mode()
    def clear(self, blocks: Sequence[int]) -> None:
        """Forget what overflowed: attention gives masked tokens no weight, but 0 · inf is not 0."""
        for held_NKD in (*self._keys, *self._values):
            for block in blocks:
                held_NKD[block * BLOCK : (block + 1) * BLOCK] = 0


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """On a processor, memory of zeros costs nothing until somebody writes to it, if it is asked for by numpy."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    bits = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[dtype.itemsize]
    return torch.from_numpy(np.zeros(shape, bits)).view(dtype)
