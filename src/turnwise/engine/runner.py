"""Runs the decoder over slots: prompts in, one step for all running chats, logits out.

Shapes: B running chats, T prompt tokens, L tokens attended to, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from turnwise.engine.cache import SlotCache
from turnwise.engine.packed import for_decoding
from turnwise.models.decoder import Decoder

PREFILL_CHUNK = 512  # tokens; bounds the memory of one pass over a long prompt


class Runner:
    """A decoder with a cache of `slots` chats."""

    def __init__(self, decoder: Decoder, slots: int) -> None:
        weight = decoder.embed.weight
        self.device = weight.device
        self._decoder = for_decoding(decoder)
        self.cache = SlotCache(decoder.config, slots, dtype=weight.dtype, device=weight.device)

    @torch.inference_mode()
    def prefill(self, slot: int, ids: Sequence[int]) -> Tensor:
        """Read a prompt into a slot; the logits after its last token, `(1, V)`."""
        hidden_BTC = None
        for start in range(0, len(ids), PREFILL_CHUNK):
            ids_BT = torch.tensor([ids[start : start + PREFILL_CHUNK]], device=self.device)
            count = ids_BT.shape[1]
            self.cache.prefill(slot, start, count)
            positions_BT = torch.arange(start, start + count, device=self.device).unsqueeze(0)
            mask = None
            if start and count > 1:
                mask = torch.arange(start + count, device=self.device) <= positions_BT.view(1, 1, -1, 1)
            hidden_BTC = self._decoder(ids_BT, positions_BT=positions_BT, mask=mask, cache=self.cache)
        assert hidden_BTC is not None, "a prompt has at least one token"
        return self._decoder.logits(hidden_BTC[:, -1])

    @torch.inference_mode()
    def decode(self, ids: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """One token further in the first B slots; the logits after it, `(B, V)`.

        Args:
            ids: the last token of each chat, not yet in the cache.
            lengths: tokens in the cache of each.
        """
        longest = max(lengths)
        starts_B = torch.tensor(lengths, device=self.device)
        self.cache.decode(starts_B, longest)
        mask = None
        if min(lengths) != longest:
            mask = torch.arange(longest + 1, device=self.device) <= starts_B.view(-1, 1, 1, 1)
        ids_BT = torch.tensor(ids, device=self.device).unsqueeze(1)
        hidden_BTC = self._decoder(ids_BT, positions_BT=starts_B.unsqueeze(1), mask=mask, cache=self.cache)
        return self._decoder.logits(hidden_BTC[:, 0])
