"""Paged KV cache of torch's runners.

Shapes: N tokens of all blocks, B sequences, K key/value heads, T new tokens, L cached tokens, S blocks of all sequences
in order, D head size, X numbers in a block.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for


class PagedKVCache:
    """Per layer one tensor of keys and one of values, `(N, K, D)`; implements `models.decoder.KeyValueCache`."""

    def __init__(
        self, num_layers: int, num_kv_heads: int, head_dim: int, num_blocks: int, *,
        dtype: torch.dtype, device: torch.device,
    ) -> None:  # fmt: skip
        shape = (num_blocks * BLOCK_SIZE, num_kv_heads, head_dim)
        self._device = device
        self._keys = [_zeros(shape, dtype, device) for _ in range(num_layers)]
        self._values = [_zeros(shape, dtype, device) for _ in range(num_layers)]
        self._blocks_S = self._slots_BT = torch.empty(0, dtype=torch.long)
        self._num_sequences = self._max_length = 0
        self.num_layers = num_layers

    def select_blocks(self, tables: Sequence[Sequence[int]], positions_BT: Tensor, max_length: int) -> None:
        """Set what the next forward pass accesses.

        It writes at `positions_BT` of the sequences with these block tables and reads the first `max_length` tokens of
        each. A shorter sequence reads unrelated tokens after its end, which must be masked.
        """
        num_blocks = blocks_for(max_length)
        padded = [[*table[:num_blocks], *[table[0]] * (num_blocks - len(table))] for table in tables]
        blocks_BS = torch.tensor(padded).to(self._device)
        offsets_BT = positions_BT % BLOCK_SIZE
        self._slots_BT = blocks_BS.gather(1, positions_BT // BLOCK_SIZE) * BLOCK_SIZE + offsets_BT
        self._blocks_S, self._num_sequences, self._max_length = blocks_BS.view(-1), len(tables), max_length

    def update(self, layer: int, keys_BKTD: Tensor, values_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values; returns all that are attended to, `(B, K, L, D)` each."""
        self._keys[layer][self._slots_BT] = keys_BKTD.transpose(1, 2)
        self._values[layer][self._slots_BT] = values_BKTD.transpose(1, 2)
        return self.gather(layer)

    def gather(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the selected sequences, `(B, K, L, D)` each."""
        return self._gather(self._keys[layer]), self._gather(self._values[layer])

    def _gather(self, cache_NKD: Tensor) -> Tensor:
        """Gather by blocks: copying a few long pieces is several times faster than many short ones."""
        cache_SX = cache_NKD.view(-1, BLOCK_SIZE * cache_NKD.shape[1] * cache_NKD.shape[2])
        gathered_BLKD = cache_SX.index_select(0, self._blocks_S).view(self._num_sequences, -1, *cache_NKD.shape[1:])
        return gathered_BLKD[:, : self._max_length].transpose(1, 2)

    @torch.inference_mode()
    def copy(self, source: int, target: int) -> None:
        """Copy the content of a block over another."""
        for cache_NKD in (*self._keys, *self._values):
            cache_NKD[target * BLOCK_SIZE : (target + 1) * BLOCK_SIZE] = cache_NKD[
                source * BLOCK_SIZE : (source + 1) * BLOCK_SIZE
            ]

    @torch.inference_mode()
    def clear(self, blocks: Sequence[int]) -> None:
        """Set blocks to zero after non-finite values: masked tokens have weight 0, but 0 · inf is NaN."""
        for cache_NKD in (*self._keys, *self._values):
            for block in blocks:
                cache_NKD[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE] = 0


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros. On CPUs from numpy, whose zeroed memory takes no physical memory until it is written."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    bits = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[dtype.itemsize]
    return torch.from_numpy(np.zeros(shape, bits)).view(dtype)
