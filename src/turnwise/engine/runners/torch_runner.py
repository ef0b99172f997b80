"""Model runner on torch, for any device.

Shapes: B sequences with the same number of new tokens, T new tokens, R rows of output, C hidden size, V vocabulary.
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
    """Runs a decoder with a KV cache of `num_blocks` blocks (implements `model_runner.ModelRunner`)."""

    kind = "torch"
    batch_invariant = False

    def __init__(self, decoder: Decoder | DecoderWeights, num_blocks: int) -> None:
        weights = as_decoder_weights(decoder)
        config, self._device = weights.config, weights.device
        self._decoder = prepack_for_decoding(weights.decoder(), in_place=weights.is_temporary)
        self._cache = PagedKVCache(
            config.num_layers, config.num_kv_heads, config.head_dim, num_blocks,
            dtype=weights.dtype, device=weights.device,
        )  # fmt: skip

    def load_lora(self, name: str, factors: Mapping[str, LoraFactors]) -> bool:
        """Not supported."""
        del name, factors
        return False

    def unload_lora(self, name: str) -> None:
        """Nothing to do: no adapter was loaded."""

    def enter(self) -> None:
        """Nothing to do."""

    @torch.inference_mode()
    def forward(self, batch: Sequence[BatchEntry], *, return_hidden: bool = False) -> Tensor:
        """Logits `(R, V)`, or hidden states `(R, C)`, of the output tokens of all entries, entry by entry."""
        by_length: dict[int, list[int]] = {}  # entries of one length are computed together, without padding
        for number, entry in enumerate(batch):
            by_length.setdefault(len(entry.ids), []).append(number)
        outputs: list[Tensor] = [torch.empty(0)] * len(batch)
        for numbers in by_length.values():
            hidden_BTC = self._forward_same_length([batch[number] for number in numbers])
            for row, number in enumerate(numbers):
                outputs[number] = hidden_BTC[row, hidden_BTC.shape[1] - batch[number].num_outputs :]
        hidden_RC = torch.cat(outputs)
        return hidden_RC if return_hidden else self.logits(hidden_RC)

    @torch.inference_mode()
    def logits(self, hidden_RC: Tensor) -> Tensor:
        """Logits `(R, V)` from last hidden states."""
        logits_RV: Tensor = self._decoder.logits(hidden_RC)
        return logits_RV

    def copy(self, source: int, target: int) -> None:
        """Copy the content of a block over another."""
        self._cache.copy(source, target)

    def clear(self, blocks: Sequence[int]) -> None:
        """Set blocks to zero after non-finite values."""
        self._cache.clear(blocks)

    def _forward_same_length(self, batch: Sequence[BatchEntry]) -> Tensor:
        """Last hidden states `(B, T, C)` of entries with the same number of new tokens."""
        num_tokens = len(batch[0].ids)
        starts_B1 = torch.tensor([[entry.start] for entry in batch], device=self._device)
        positions_BT = starts_B1 + torch.arange(num_tokens, device=self._device)
        max_length = max(entry.start for entry in batch) + num_tokens
        self._cache.select_blocks([entry.blocks for entry in batch], positions_BT, max_length)
        mask = None
        # A single new token at the end of the longest sequence attends to everything; all other cases need a mask.
        if num_tokens > 1 or any(entry.start + 1 != max_length for entry in batch):
            mask = torch.arange(max_length, device=self._device) <= positions_BT[:, None, :, None]
        ids_BT = torch.tensor([list(entry.ids) for entry in batch], device=self._device)
        hidden_BTC: Tensor = self._decoder(ids_BT, positions_BT=positions_BT, mask=mask, cache=self._cache)
        return hidden_BTC
