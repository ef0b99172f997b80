"""Keys and values of all chats in blocks, for torch.

Shapes: N tokens that all blocks hold together, B lines, K key/value heads, T new tokens, L tokens kept, S blocks of all
lines, one after the other, D head size.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for


class PagedKVCache:
    """One piece of memory per layer for keys and one for values, `(N, K, D)`."""

    def __init__(
        self, layers: int, heads: int, size: int, blocks: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (blocks * BLOCK_SIZE, heads, size)
        self._device = device
        self._keys = [_zeros(shape, dtype, device) for _ in range(layers)]
        self._values = [_zeros(shape, dtype, device) for _ in range(layers)]
        self._blocks_S = self._writes_BT = torch.empty(0, dtype=torch.long)
        self._lines = self._longest = 0
        self.layers = layers

    def select_blocks(self, tables: Sequence[Sequence[int]], positions_BT: Tensor, longest: int) -> None:
        """The next pass writes at these positions of these lines, and reads the first `longest` of each.

        A shorter line reads what lies in its blocks beyond its end, and is not to look at it.
        """
        count = blocks_for(longest)
        blocks_BS = torch.tensor([[*table[:count], *[table[0]] * (count - len(table))] for table in tables])
        blocks_BS = blocks_BS.to(self._device)
        self._writes_BT = blocks_BS.gather(1, positions_BT // BLOCK_SIZE) * BLOCK_SIZE + positions_BT % BLOCK_SIZE
        self._blocks_S, self._lines, self._longest = blocks_BS.view(-1), len(tables), longest

    def update(self, layer: int, keys_BKTD: Tensor, values_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store what is new, return what is to be attended to, `(B, K, L, D)` each."""
        self._keys[layer][self._writes_BT] = keys_BKTD.transpose(1, 2)
        self._values[layer][self._writes_BT] = values_BKTD.transpose(1, 2)
        return self.held(layer)

    def held(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values that are read, `(B, K, L, D)` each."""
        return self._gathered(self._keys[layer]), self._gathered(self._values[layer])

    def _gathered(self, held_NKD: Tensor) -> Tensor:
        """Block by block: a copy of a few long pieces is several times quicker than one of many short ones."""
        held_SX = held_NKD.view(-1, BLOCK_SIZE * held_NKD.shape[1] * held_NKD.shape[2])
        read_BLKD = held_SX.index_select(0, self._blocks_S).view(self._lines, -1, *held_NKD.shape[1:])
        return read_BLKD[:, : self._longest].transpose(1, 2)

    @torch.inference_mode()
    def copy(self, source: int, target: int) -> None:
        """Copy a block over another."""
        for held_NKD in (*self._keys, *self._values):
            held_NKD[target * BLOCK_SIZE : (target + 1) * BLOCK_SIZE] = held_NKD[
                source * BLOCK_SIZE : (source + 1) * BLOCK_SIZE
            ]

    @torch.inference_mode()
    def clear(self, blocks: Sequence[int]) -> None:
        """Forget what overflowed: attention gives masked tokens no weight, but 0 · inf is not 0."""
        for held_NKD in (*self._keys, *self._values):
            for block in blocks:
                held_NKD[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE] = 0


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """On a processor, memory of zeros costs nothing until somebody writes to it, if it is asked for by numpy."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    bits = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[dtype.itemsize]
    return torch.from_numpy(np.zeros(shape, bits)).view(dtype)
