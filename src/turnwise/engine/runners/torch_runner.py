"""Runs the decoder over blocks with torch, on any device.

Shapes: B lines with as many new tokens, T of them, L tokens attended to, C hidden size, V vocabulary.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from turnwise.engine.batch import BatchEntry
from turnwise.engine.runners.paged_kv_cache import PagedKVCache
from turnwise.engine.runners.prepacked_linear import prepack_for_decoding
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_weights import DecoderWeights, as_decoder_weights
from turnwise.models.lora_factors import LoraFactors


class TorchRunner:
    """A decoder with a cache of `blocks` (the `engine.runner.Runner` protocol)."""

    kind = "torch"
    batch_invariant = False

    def __init__(self, decoder: Decoder | DecoderWeights, blocks: int) -> None:
        weights = as_decoder_weights(decoder)
        config, self._device = weights.config, weights.device
        self._decoder = prepack_for_decoding(weights.decoder(), in_place=weights.is_temporary)
        self._cache = PagedKVCache(
            config.num_layers, config.num_kv_heads, config.head_dim, blocks, dtype=weights.dtype, device=weights.device
        )

    def load_lora(self, name: str, thin: Mapping[str, LoraFactors]) -> bool:
        """It cannot."""
        del name, thin
        return False

    def enter(self) -> None:
        """Nothing to prepare."""

    @torch.inference_mode()
    def forward(self, spans: Sequence[BatchEntry], *, hidden: bool = False) -> Tensor:
        """Read every span's tokens; the logits, or hidden states, after those that are wanted, `(R, V)` or `(R, C)`."""
        by_count: dict[int, list[int]] = {}
        for number, span in enumerate(spans):
            by_count.setdefault(len(span.ids), []).append(number)
        found: list[Tensor] = [torch.empty(0)] * len(spans)
        for numbers in by_count.values():
            hidden_BTC = self._pass([spans[number] for number in numbers])
            for row, number in enumerate(numbers):
                wanted = spans[number].wanted
                found[number] = hidden_BTC[row, hidden_BTC.shape[1] - wanted :]
        hidden_RC = torch.cat(found)
        return hidden_RC if hidden else self.logits(hidden_RC)

    @torch.inference_mode()
    def logits(self, hidden_RC: Tensor) -> Tensor:
        """The logits after last hidden states, `(R, V)`."""
        logits_RV: Tensor = self._decoder.logits(hidden_RC)
        return logits_RV

    def copy(self, source: int, target: int) -> None:
        """Copy a block's keys and values over another's."""
        self._cache.copy(source, target)

    def clear(self, blocks: Sequence[int]) -> None:
        """Forget what blocks hold, numbers that overflowed among it."""
        self._cache.clear(blocks)

    def _pass(self, spans: Sequence[BatchEntry]) -> Tensor:
        """The last hidden states of spans of one length, `(B, T, C)`."""
        count = len(spans[0].ids)
        starts_B1 = torch.tensor([[span.start] for span in spans], device=self._device)
        positions_BT = starts_B1 + torch.arange(count, device=self._device)
        longest = max(span.start for span in spans) + count
        self._cache.select_blocks([span.blocks for span in spans], positions_BT, longest)
        mask = None
        if count > 1 or any(span.start + 1 != longest for span in spans):
            mask = torch.arange(longest, device=self._device) <= positions_BT[:, None, :, None]
        ids_BT = torch.tensor([list(span.ids) for span in spans], device=self._device)
        hidden_BTC: Tensor = self._decoder(ids_BT, positions_BT=positions_BT, mask=mask, cache=self._cache)
        return hidden_BTC
