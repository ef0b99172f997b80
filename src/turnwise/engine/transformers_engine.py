"""The engine for models that transformers computes: decoders that are none of ours, and encoder–decoders.

Everything after the logits is what it is for our own: rules, searches, constraints, turns, blocks. An encoder's source
is encoded once; its answers are decoded one source after the other, lines of one source, such as beams, together.

Shapes: B lines of one source, T new tokens, S source tokens, L tokens kept, K heads, D head size, V vocabulary.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from turnwise.core.errors import ContextLengthExceeded, InvalidParameter, UserError
from turnwise.core.ports import GenerationRequest, TokenEvent
from turnwise.engine.batch import BatchEntry
from turnwise.engine.engine import Engine
from turnwise.engine.kv_cache.block_pool import blocks_for
from turnwise.engine.runners.paged_kv_cache import PagedKVCache
from turnwise.engine.sequence import SequenceGroup
from turnwise.models.lora_factors import LoraFactors
from turnwise.models.transformers_model import TransformersModel

MAX_ENCODER_CACHE_BYTES = (
    512 * 2**20
)  # of encoded sources that are kept; what is more is encoded again when its turn comes
MIN_SEQUENCES = 16  # that there is room for, since a search has several lines

Pairs = list[tuple[Tensor, Tensor]]  # keys and values of the layers


class TransformersEngine(Engine):
    """Generates for many requests at once, with a decoder (the `core.ports.Generator` port)."""

    def __init__(self, model: TransformersModel, *, max_num_seqs: int = 32) -> None:
        self._model = model
        self._context_length = model.context_length
        blocks = max(max_num_seqs, MIN_SEQUENCES) * blocks_for(model.context_length)
        self._begin(TransformersRunner(model, blocks), blocks, max_num_seqs, model.vocab_size)

    def submit(self, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> SequenceGroup:
        """Queue a request; events come from the engine's thread. Raises as `Engine.submit` does."""
        if request.prompt_output == "embedding":
            raise UserError("This model, which transformers computes, does not embed its prompt.")
        _refuse_states(request)
        return super().submit(request, on_event)


def _refuse_states(request: GenerationRequest) -> None:
    if request.params.penalty_alpha:
        raise InvalidParameter("penalty_alpha", "'penalty_alpha' is not for models that transformers computes.")


class EncoderDecoderEngine(TransformersEngine):
    """The same with an encoder–decoder."""

    is_encoder_decoder = True

    def max_new_tokens(self, prompt: int) -> int:
        """Most tokens of an answer to a prompt of so many; negative where that is too long itself."""
        short = self._context_length - prompt
        return short if short < 0 else self._context_length - len(self._model.decoder_start_ids)

    def submit(self, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> SequenceGroup:
        """Queue a request; events come from the engine's thread. Raises as `Engine.submit` does."""
        if request.prompt_output != "nothing":
            raise UserError("An encoder–decoder model does not score or embed its prompt.")
        _refuse_states(request)
        self._check_ids(request.prompt_ids)
        if request.max_tokens > self.max_new_tokens(len(request.prompt_ids)):
            prompt = len(request.prompt_ids)  # read by the encoder, beside what the decoder writes
            answer = 0 if prompt > self._context_length else request.max_tokens
            raise ContextLengthExceeded.for_prompt(self._context_length, prompt, answer)
        # What a decoder has in its cache depends on the source, so each source is a scope of its own.
        digest = hashlib.sha256(array("q", request.prompt_ids).tobytes()).hexdigest()
        own = replace(
            request,
            prompt_ids=self._model.decoder_start_ids,
            encoder_ids=request.prompt_ids,
            scope=f"{request.scope}\n{digest}",
        )
        return self._queue(own, on_event)


def create_transformers_engine(model: TransformersModel, *, max_num_seqs: int = 32) -> TransformersEngine:
    """The engine for this kind of model."""
    return (EncoderDecoderEngine if model.kind == "encoder_decoder" else TransformersEngine)(
        model, max_num_seqs=max_num_seqs
    )


class TransformersRunner:
    """transformers' model over blocks (the `engine.runner.Runner` protocol)."""

    kind = "transformers"
    batch_invariant = False

    def __init__(self, model: TransformersModel, blocks: int) -> None:
        self._model, self._blocks, self._encodes = model.module, blocks, model.kind == "encoder_decoder"
        self._device = model.module.device
        self._cache: PagedKVCache | None = None  # its sizes show with the first keys
        self._sources: OrderedDict[str, tuple[Tensor, Pairs]] = OrderedDict()  # by scope, of which each has one source

    def load_lora(self, name: str, thin: Mapping[str, LoraFactors]) -> bool:
        """It cannot."""
        del name, thin
        return False

    def enter(self) -> None:
        """Nothing to prepare."""

    @torch.inference_mode()
    def forward(self, spans: Sequence[BatchEntry], *, hidden: bool = False) -> Tensor:
        """Read every span's tokens; the logits after those that are wanted, `(R, V)`."""
        assert not hidden, "the engine refuses it"
        alike: dict[tuple[str, int, int], list[int]] = {}
        for number, span in enumerate(spans):
            source = span.scope if self._encodes else ""
            alike.setdefault((source, span.start, len(span.ids)), []).append(number)
        found: list[Tensor] = [torch.empty(0)] * len(spans)
        for numbers in alike.values():
            logits_BTV = self._pass([spans[number] for number in numbers])
            for row, number in enumerate(numbers):
                found[number] = logits_BTV[row, logits_BTV.shape[1] - spans[number].wanted :]
        return torch.cat(found)

    def logits(self, hidden_RC: Tensor) -> Tensor:
        """Nobody's business here: the engine refuses what would ask for hidden states."""
        raise AssertionError(f"the engine refuses it, {tuple(hidden_RC.shape)}")

    def copy(self, source: int, target: int) -> None:
        """Copy a block's keys and values over another's."""
        if self._cache is not None:
            self._cache.copy(source, target)

    def clear(self, blocks: Sequence[int]) -> None:
        """Forget what blocks hold, numbers that overflowed among it."""
        if self._cache is not None:
            self._cache.clear(blocks)

    def _pass(self, spans: Sequence[BatchEntry]) -> Tensor:
        """The logits after new tokens of lines that have one source, if any, and are as long, `(B, T, V)`."""
        from transformers.cache_utils import DynamicCache

        start, count = spans[0].start, len(spans[0].ids)
        kept = DynamicCache()
        if start:
            assert self._cache is not None, "something was read before"
            self._point_at(spans, start, count)
            for layer in range(self._cache.layers):
                keys_BKLD, values_BKLD = self._cache.held(layer)
                kept.update(keys_BKLD[:, :, :start], values_BKLD[:, :, :start], layer)
        ids_BT = torch.tensor([list(span.ids) for span in spans], device=self._device)
        if self._encodes:
            logits_BTV, kept = self._decode(spans, ids_BT, kept)
        else:
            out = self._model(input_ids=ids_BT, past_key_values=kept, use_cache=True)
            logits_BTV, kept = out.logits, out.past_key_values
        if self._cache is None:
            keys_BKLD = kept.layers[0].keys
            self._cache = PagedKVCache(
                len(kept.layers), keys_BKLD.shape[1], keys_BKLD.shape[3], self._blocks,
                dtype=keys_BKLD.dtype, device=keys_BKLD.device,
            )  # fmt: skip
        self._point_at(spans, start, count)
        for number, layer in enumerate(kept.layers):
            self._cache.update(number, layer.keys[:, :, start:], layer.values[:, :, start:])
        return logits_BTV

    def _decode(self, spans: Sequence[BatchEntry], ids_BT: Tensor, kept: Any) -> tuple[Tensor, Any]:
        """Logits `(B, T, V)` and the cache of the decoder's own tokens, of lines of one source."""
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache
        from transformers.modeling_outputs import BaseModelOutput

        B = len(spans)
        hidden_1SC, cross = self._source(spans[0])
        both = DynamicCache()
        for layer, (keys_1KSD, values_1KSD) in enumerate(cross):
            both.update(keys_1KSD.expand(B, -1, -1, -1), values_1KSD.expand(B, -1, -1, -1), layer)
        out = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden_1SC.expand(B, -1, -1)),
            decoder_input_ids=ids_BT,
            past_key_values=EncoderDecoderCache(kept, both),
            use_cache=True,
        )
        if not cross:
            cross.extend(
                (layer.keys[:1], layer.values[:1]) for layer in out.past_key_values.cross_attention_cache.layers
            )
        return out.logits, out.past_key_values.self_attention_cache

    def _point_at(self, spans: Sequence[BatchEntry], start: int, count: int) -> None:
        assert self._cache is not None, "something was read"
        positions_BT = torch.arange(start, start + count, device=self._device).expand(len(spans), -1)
        self._cache.select_blocks([span.blocks for span in spans], positions_BT, start + count)

    def _source(self, span: BatchEntry) -> tuple[Tensor, Pairs]:
        """A source's encoded states and, once they were needed, its keys and values of every layer."""
        if span.scope not in self._sources:
            encoder = self._model.get_encoder()
            ids_1S = torch.tensor([list(span.encoder_ids)], device=self._device)
            self._sources[span.scope] = (encoder(input_ids=ids_1S).last_hidden_state, [])
        self._sources.move_to_end(span.scope)
        while len(self._sources) > 1 and sum(map(_bytes, self._sources.values())) > MAX_ENCODER_CACHE_BYTES:
            self._sources.popitem(last=False)
        return self._sources[span.scope]


def _bytes(source: tuple[Tensor, Pairs]) -> int:
    hidden_1SC, cross = source
    return hidden_1SC.nbytes + sum(keys.nbytes + values.nbytes for keys, values in cross)
