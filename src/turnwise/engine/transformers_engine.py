"""Engines for models that transformers computes: decoders without a mapping of ours, and encoder-decoders.

Everything after the logits (sampling, searches, constraints, scheduling, KV cache) is the same as for our own decoder.
"""

import hashlib
from array import array
from dataclasses import replace

from turnwise.core.errors import ContextLengthExceeded, InvalidParameter, UserError
from turnwise.core.inference import EventListener, GenerationRequest
from turnwise.engine.engine import Engine
from turnwise.engine.kv_cache.block_pool import blocks_for
from turnwise.engine.runners.transformers_runner import TransformersRunner
from turnwise.engine.sequence import SequenceGroup
from turnwise.models.transformers_model import TransformersModel

MIN_SEQUENCES = 16  # full contexts that the KV cache has room for, because a search has several sequences


class TransformersEngine(Engine):
    """Generates with a decoder of transformers (implements `core.inference.InferenceEngine`)."""

    def __init__(self, model: TransformersModel, *, max_num_seqs: int = 32) -> None:
        self._model = model
        self._context_length = model.context_length
        num_blocks = max(max_num_seqs, MIN_SEQUENCES) * blocks_for(model.context_length)
        self._start(TransformersRunner(model, num_blocks), num_blocks, max_num_seqs, model.vocab_size)

    def submit(self, request: GenerationRequest, on_event: EventListener) -> SequenceGroup:
        """Queue a request. Raises as `Engine.submit` does, and `UserError` for embeddings and contrastive search."""
        if request.prompt_output == "embedding":
            raise UserError("Embeddings are not supported for models that transformers computes.")
        _reject_contrastive_search(request)
        return super().submit(request, on_event)


def _reject_contrastive_search(request: GenerationRequest) -> None:
    if request.params.penalty_alpha:
        raise InvalidParameter(
            "penalty_alpha", "'penalty_alpha' is not supported for models that transformers computes."
        )


class EncoderDecoderEngine(TransformersEngine):
    """Generates with an encoder-decoder: the prompt is the encoder's input."""

    is_encoder_decoder = True

    def max_new_tokens(self, prompt_length: int) -> int:
        """Maximum number of tokens of an answer to a prompt of this length; negative if the prompt is too long."""
        remaining = self._context_length - prompt_length
        return remaining if remaining < 0 else self._context_length - len(self._model.decoder_start_ids)

    def submit(self, request: GenerationRequest, on_event: EventListener) -> SequenceGroup:
        """Queue a request. Raises as `TransformersEngine.submit` does, and `UserError` for prompt log-probabilities."""
        if request.prompt_output != "nothing":
            raise UserError("Log-probabilities and embeddings of the prompt are not supported for encoder-decoders.")
        _reject_contrastive_search(request)
        self._check_ids(request.prompt_ids)
        if request.max_tokens > self.max_new_tokens(len(request.prompt_ids)):
            prompt_length = len(request.prompt_ids)  # the encoder's limit; the decoder's is separate
            answer = 0 if prompt_length > self._context_length else request.max_tokens
            raise ContextLengthExceeded.for_prompt(self._context_length, prompt_length, answer)
        # Keys and values of the decoder depend on the encoder's input, so each input is a scope of its own.
        digest = hashlib.sha256(array("q", request.prompt_ids).tobytes()).hexdigest()
        decoder_request = replace(
            request,
            prompt_ids=self._model.decoder_start_ids,
            encoder_ids=request.prompt_ids,
            scope=f"{request.scope}\n{digest}",
        )
        return self._queue(decoder_request, on_event)


def create_transformers_engine(model: TransformersModel, *, max_num_seqs: int = 32) -> TransformersEngine:
    """The engine for this kind of model."""
    if model.kind == "encoder_decoder":
        return EncoderDecoderEngine(model, max_num_seqs=max_num_seqs)
    return TransformersEngine(model, max_num_seqs=max_num_seqs)
