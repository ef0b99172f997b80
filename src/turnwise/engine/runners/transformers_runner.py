"""Model runner for models that transformers computes: decoders without a mapping of ours, and encoder-decoders.

Shapes: B sequences, T new tokens, S encoder tokens, L cached tokens, K key/value heads, D head size, C hidden size, R
rows of output, V vocabulary.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from turnwise.engine.batch import BatchEntry
from turnwise.engine.runners.paged_kv_cache import PagedKVCache
from turnwise.models.lora_factors import LoraFactors
from turnwise.models.transformers_model import TransformersModel

MAX_ENCODER_CACHE_BYTES = 512 * 2**20  # of encoder outputs that are cached; others are computed again when needed

KeysAndValues = list[tuple[Tensor, Tensor]]  # per layer


class TransformersRunner:
    """Runs a transformers model with a KV cache in blocks (implements `model_runner.ModelRunner`).

    Sequences are computed together if they have the same start, the same number of new tokens and, with an encoder, the
    same encoder input; each scope has one encoder input (`EncoderDecoderEngine.submit`).
    """

    kind = "transformers"
    batch_invariant = False

    def __init__(self, model: TransformersModel, num_blocks: int) -> None:
        self._model, self._num_blocks = model.module, num_blocks
        self._has_encoder = model.kind == "encoder_decoder"
        self._device = model.module.device
        self._cache: PagedKVCache | None = None  # created with the first keys, whose shape is known only then
        self._encoder_cache: OrderedDict[str, tuple[Tensor, KeysAndValues]] = OrderedDict()  # by scope

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
        """Logits `(R, V)` of the output tokens of all entries, entry by entry."""
        assert not return_hidden, "the engine rejects requests that need hidden states"
        by_shape: dict[tuple[str, int, int], list[int]] = {}
        for number, entry in enumerate(batch):
            encoder_scope = entry.scope if self._has_encoder else ""
            by_shape.setdefault((encoder_scope, entry.start, len(entry.ids)), []).append(number)
        outputs: list[Tensor] = [torch.empty(0)] * len(batch)
        for numbers in by_shape.values():
            logits_BTV = self._forward_same_shape([batch[number] for number in numbers])
            for row, number in enumerate(numbers):
                outputs[number] = logits_BTV[row, logits_BTV.shape[1] - batch[number].num_outputs :]
        return torch.cat(outputs)

    def logits(self, hidden_RC: Tensor) -> Tensor:
        """Never called: the engine rejects requests that need hidden states."""
        raise AssertionError(f"hidden states are not supported, got {tuple(hidden_RC.shape)}")

    def copy(self, source: int, target: int) -> None:
        """Copy the content of a block over another."""
        if self._cache is not None:
            self._cache.copy(source, target)

    def clear(self, blocks: Sequence[int]) -> None:
        """Set blocks to zero after non-finite values."""
        if self._cache is not None:
            self._cache.clear(blocks)

    def _forward_same_shape(self, batch: Sequence[BatchEntry]) -> Tensor:
        """Logits `(B, T, V)` of entries with the same start, number of new tokens and encoder input."""
        from transformers.cache_utils import DynamicCache

        start, num_tokens = batch[0].start, len(batch[0].ids)
        past = DynamicCache()
        if start:
            assert self._cache is not None, "earlier tokens were computed"
            self._select_blocks(batch, start, num_tokens)
            for layer in range(self._cache.num_layers):
                keys_BKLD, values_BKLD = self._cache.gather(layer)
                past.update(keys_BKLD[:, :, :start], values_BKLD[:, :, :start], layer)
        ids_BT = torch.tensor([list(entry.ids) for entry in batch], device=self._device)
        if self._has_encoder:
            logits_BTV, past = self._forward_decoder(batch, ids_BT, past)
        else:
            out = self._model(input_ids=ids_BT, past_key_values=past, use_cache=True)
            logits_BTV, past = out.logits, out.past_key_values
        if self._cache is None:
            keys_BKLD = past.layers[0].keys
            self._cache = PagedKVCache(
                len(past.layers), keys_BKLD.shape[1], keys_BKLD.shape[3], self._num_blocks,
                dtype=keys_BKLD.dtype, device=keys_BKLD.device,
            )  # fmt: skip
        self._select_blocks(batch, start, num_tokens)
        for number, layer in enumerate(past.layers):
            self._cache.update(number, layer.keys[:, :, start:], layer.values[:, :, start:])
        return logits_BTV

    def _forward_decoder(self, batch: Sequence[BatchEntry], ids_BT: Tensor, past: Any) -> tuple[Tensor, Any]:
        """Logits `(B, T, V)` of an encoder-decoder's decoder, and its self-attention cache."""
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache
        from transformers.modeling_outputs import BaseModelOutput

        B = len(batch)
        hidden_1SC, cross_attention = self._encode(batch[0])
        cross_cache = DynamicCache()
        for layer, (keys_1KSD, values_1KSD) in enumerate(cross_attention):
            cross_cache.update(keys_1KSD.expand(B, -1, -1, -1), values_1KSD.expand(B, -1, -1, -1), layer)
        out = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden_1SC.expand(B, -1, -1)),
            decoder_input_ids=ids_BT,
            past_key_values=EncoderDecoderCache(past, cross_cache),
            use_cache=True,
        )
        if not cross_attention:
            cross_attention.extend(
                (layer.keys[:1], layer.values[:1]) for layer in out.past_key_values.cross_attention_cache.layers
            )
        return out.logits, out.past_key_values.self_attention_cache

    def _select_blocks(self, batch: Sequence[BatchEntry], start: int, num_tokens: int) -> None:
        assert self._cache is not None, "the caller checks it"
        positions_BT = torch.arange(start, start + num_tokens, device=self._device).expand(len(batch), -1)
        self._cache.select_blocks([entry.blocks for entry in batch], positions_BT, start + num_tokens)

    def _encode(self, entry: BatchEntry) -> tuple[Tensor, KeysAndValues]:
        """The encoder's output and, after the first decoder pass, its cross-attention keys and values per layer."""
        if entry.scope not in self._encoder_cache:
            encoder = self._model.get_encoder()
            ids_1S = torch.tensor([list(entry.encoder_ids)], device=self._device)
            self._encoder_cache[entry.scope] = (encoder(input_ids=ids_1S).last_hidden_state, [])
        self._encoder_cache.move_to_end(entry.scope)
        while (
            len(self._encoder_cache) > 1 and sum(map(_nbytes, self._encoder_cache.values())) > MAX_ENCODER_CACHE_BYTES
        ):
            self._encoder_cache.popitem(last=False)
        return self._encoder_cache[entry.scope]


def _nbytes(encoded: tuple[Tensor, KeysAndValues]) -> int:
    hidden_1SC, cross_attention = encoded
    return hidden_1SC.nbytes + sum(keys.nbytes + values.nbytes for keys, values in cross_attention)
