"""The engine for encoder–decoder models: the source is encoded once, the answer decoded like any other.

Everything after the logits is what it is for decoders: rules, searches, constraints, turns, blocks. The computation is
transformers', one source after the other; lines of one source, such as beams, go together.

Shapes: B lines of one source, T new tokens, S source tokens, L tokens kept, K heads, D head size, V vocabulary.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from turnwise.core.errors import ContextTooLong, InvalidParameter, UserError
from turnwise.core.ports import GenerationRequest, TokenEvent
from turnwise.engine.blocks import blocks_for
from turnwise.engine.cache import BlockCache
from turnwise.engine.chat import Chat
from turnwise.engine.engine import Engine
from turnwise.engine.span import Span
from turnwise.models.encoder_decoder import EncoderDecoder

SOURCE_BYTES = 512 * 2**20  # of encoded sources that are kept; what is more is encoded again when its turn comes
LEAST_ANSWERS = 16  # that there is room for, since a search has several lines

Pairs = list[tuple[Tensor, Tensor]]  # keys and values of the layers


class EncoderDecoderEngine(Engine):
    """Generates for many requests at once (the `core.ports.Generator` port)."""

    encodes = True

    def __init__(self, model: EncoderDecoder, *, slots: int = 32) -> None:
        self._model = model
        self._context_length = model.source_length
        blocks = max(slots, LEAST_ANSWERS) * blocks_for(model.target_length)
        self._begin(EncoderDecoderRunner(model, blocks), blocks, slots, model.vocab_size)

    def room(self, prompt: int) -> int:
        """Most tokens of an answer to a prompt of so many; negative where that is too long itself."""
        short = self._model.source_length - prompt
        return short if short < 0 else self._model.target_length - len(self._model.start_ids)

    def submit(self, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> Chat:
        """Queue a request; events come from the engine's thread. Raises as `Engine.submit` does."""
        if request.reading != "nothing":
            raise UserError("An encoder–decoder model does not score or embed its prompt.")
        if request.params.penalty_alpha:
            raise InvalidParameter("penalty_alpha", "'penalty_alpha' is not for encoder–decoder models.")
        self._check_ids(request.prompt_ids)
        if request.max_tokens > self.room(len(request.prompt_ids)):
            raise ContextTooLong(
                f"The model reads {self._model.source_length} tokens and writes {self._model.target_length}; "
                f"{len(request.prompt_ids)} of prompt or {request.max_tokens} of answer do not fit."
            )
        # What a decoder has in its cache depends on the source, so each source is a scope of its own.
        digest = hashlib.sha256(array("q", request.prompt_ids).tobytes()).hexdigest()
        own = replace(
            request, prompt_ids=self._model.start_ids, source=request.prompt_ids, scope=f"{request.scope}\n{digest}"
        )
        return self._queue(own, on_event)


class EncoderDecoderRunner:
    """transformers' model over blocks (the `engine.runner.Runner` protocol)."""

    kind = "transformers"
    exact = False

    def __init__(self, model: EncoderDecoder, blocks: int) -> None:
        self._model, self._blocks = model.model, blocks
        self._device = model.model.device
        self._cache: BlockCache | None = None  # its sizes show with the first keys
        self._sources: OrderedDict[str, tuple[Tensor, Pairs]] = OrderedDict()  # by scope, of which each has one source

    def enter(self) -> None:
        """Nothing to prepare."""

    @torch.inference_mode()
    def forward(self, spans: Sequence[Span], *, hidden: bool = False) -> Tensor:
        """Read every span's tokens; the logits after those that are wanted, `(R, V)`."""
        assert not hidden, "the engine refuses it"
        alike: dict[tuple[str, int, int], list[int]] = {}
        for number, span in enumerate(spans):
            alike.setdefault((span.scope, span.start, len(span.ids)), []).append(number)
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

    def _pass(self, spans: Sequence[Span]) -> Tensor:
        """The logits after new tokens of lines that have one source and are as long, `(B, T, V)`."""
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache
        from transformers.modeling_outputs import BaseModelOutput

        B, start, count = len(spans), spans[0].start, len(spans[0].ids)
        hidden_1SC, cross = self._source(spans[0])
        kept = DynamicCache()
        if start:
            assert self._cache is not None, "something was read before"
            self._point_at(spans, start, count)
            for layer in range(len(cross)):
                keys_BKLD, values_BKLD = self._cache.held(layer)
                kept.update(keys_BKLD[:, :, :start], values_BKLD[:, :, :start], layer)
        both = DynamicCache()
        for layer, (keys_1KSD, values_1KSD) in enumerate(cross):
            both.update(keys_1KSD.expand(B, -1, -1, -1), values_1KSD.expand(B, -1, -1, -1), layer)
        out = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden_1SC.expand(B, -1, -1)),
            decoder_input_ids=torch.tensor([list(span.ids) for span in spans], device=self._device),
            past_key_values=EncoderDecoderCache(kept, both),
            use_cache=True,
        )
        kept, both = out.past_key_values.self_attention_cache, out.past_key_values.cross_attention_cache
        if not cross:
            cross.extend((layer.keys[:1], layer.values[:1]) for layer in both.layers)
        if self._cache is None:
            keys_BKLD = kept.layers[0].keys
            self._cache = BlockCache(
                len(kept.layers), keys_BKLD.shape[1], keys_BKLD.shape[3], self._blocks,
                dtype=keys_BKLD.dtype, device=keys_BKLD.device,
            )  # fmt: skip
        self._point_at(spans, start, count)
        for number, layer in enumerate(kept.layers):
            self._cache.update(number, layer.keys[:, :, start:], layer.values[:, :, start:])
        logits_BTV: Tensor = out.logits
        return logits_BTV

    def _point_at(self, spans: Sequence[Span], start: int, count: int) -> None:
        assert self._cache is not None, "something was read"
        positions_BT = torch.arange(start, start + count, device=self._device).expand(len(spans), -1)
        self._cache.point_at([span.blocks for span in spans], positions_BT, start + count)

    def _source(self, span: Span) -> tuple[Tensor, Pairs]:
        """A source's encoded states and, once they were needed, its keys and values of every layer."""
        if span.scope not in self._sources:
            encoder = self._model.get_encoder()
            ids_1S = torch.tensor([list(span.source)], device=self._device)
            self._sources[span.scope] = (encoder(input_ids=ids_1S).last_hidden_state, [])
        self._sources.move_to_end(span.scope)
        while len(self._sources) > 1 and sum(map(_bytes, self._sources.values())) > SOURCE_BYTES:
            self._sources.popitem(last=False)
        return self._sources[span.scope]


def _bytes(source: tuple[Tensor, Pairs]) -> int:
    hidden_1SC, cross = source
    return hidden_1SC.nbytes + sum(keys.nbytes + values.nbytes for keys, values in cross)
