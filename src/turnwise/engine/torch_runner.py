"""Runs the decoder over slots with torch, on any device.

Shapes: B running chats, T prompt tokens, L tokens attended to, C hidden size, V vocabulary.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from turnwise.engine.cache import SlotCache
from turnwise.engine.packed import for_decoding
from turnwise.models.decoder import Decoder

PREFILL_CHUNK = 512  # tokens; bounds the memory of one pass over a long prompt


class TorchRunner:
    """A decoder with a cache of `slots` chats (the `engine.runner.Runner` protocol)."""

    kind = "torch"

    def __init__(self, decoder: Decoder, slots: int) -> None:
        weight = decoder.embed.weight
        self._device = weight.device
        self._decoder = for_decoding(decoder)
        self._cache = SlotCache(decoder.config, slots, dtype=weight.dtype, device=weight.device)

    def enter(self) -> None:
        """Nothing to prepare."""

    @torch.inference_mode()
    def prefill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read prompts into their slots; the logits after the last token of each, `(B, V)`."""
        lasts = []
        for slot, prompt in zip(slots, prompts, strict=True):
            *_, hidden_BTC = self._parts(slot, prompt)
            lasts.append(self._decoder.logits(hidden_BTC[:, -1]))
        return torch.cat(lasts)

    @torch.inference_mode()
    def read(self, slot: int, ids: Sequence[int], *, hidden: bool = False) -> Iterator[Tensor]:
        """Read one prompt into its slot, a part at a time: the logits, or hidden states, after each token."""
        for hidden_BTC in self._parts(slot, ids):
            yield hidden_BTC[0] if hidden else self._decoder.logits(hidden_BTC[0])

    @torch.inference_mode()
    def decode(self, ids: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """One token further in the first B slots; the logits after it, `(B, V)`.

        Args:
            ids: the last token of each chat, not yet in the cache.
            lengths: tokens in the cache of each.
        """
        longest = max(lengths)
        starts_B = torch.tensor(lengths, device=self._device)
        self._cache.decode(starts_B, longest)
        mask = None
        if min(lengths) != longest:
            mask = torch.arange(longest + 1, device=self._device) <= starts_B.view(-1, 1, 1, 1)
        ids_BT = torch.tensor(ids, device=self._device).unsqueeze(1)
        hidden_BTC = self._decoder(ids_BT, positions_BT=starts_B.unsqueeze(1), mask=mask, cache=self._cache)
        return self._decoder.logits(hidden_BTC[:, 0])

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a slot over another."""
        self._cache.move(source, target, length)

    def clear(self, slot: int) -> None:
        """Forget what a slot holds, numbers that overflowed among it."""
        self._cache.clear(slot)

    def _parts(self, slot: int, ids: Sequence[int]) -> Iterator[Tensor]:
        for start in range(0, len(ids), PREFILL_CHUNK):
            ids_BT = torch.tensor([ids[start : start + PREFILL_CHUNK]], device=self._device)
            count = ids_BT.shape[1]
            self._cache.prefill(slot, start, count)
            positions_BT = torch.arange(start, start + count, device=self._device).unsqueeze(0)
            mask = None
            if start and count > 1:
                mask = torch.arange(start + count, device=self._device) <= positions_BT.view(1, 1, -1, 1)
            yield self._decoder(ids_BT, positions_BT=positions_BT, mask=mask, cache=self._cache)
