"""Embeds sequences of token ids with an encoder, in batches of similar length.

Shapes: T tokens, C hidden size.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from turnwise.core.errors import InvalidParameter, TurnwiseError
from turnwise.engine.native.native_encoder import NativeEncoder, library_for_encoder
from turnwise.engine.native.structs import Pooling
from turnwise.models.encoder import Encoder
from turnwise.models.encoder_weights import EncoderWeights

MAX_BATCH_TOKENS = 1024  # tokens of a batch: their activations stay in the processor's cache
UNSUPPORTED_INT8 = (
    "Quantized encoders need the compiled library, with a hidden size and a head size that it supports (multiples of "
    "the vector width)."
)
PoolingName = Literal["mean", "cls"]
POOLINGS: dict[PoolingName, Pooling] = {"mean": Pooling.MEAN, "cls": Pooling.CLS}


class EncoderEngine:
    """Embeds sequences of token ids (implements `core.embedding_service.SequenceEmbedder`).

    The compiled library computes; without it torch does, one sequence after the other. A sequence has the same vector
    to the last bit alone and in any batch.

    Args:
        weights: the encoder's weights.
        pooling: how the hidden states of a sequence become one vector.
        is_int8: quantize the weights to 8 bits.
        threads: number of threads. Default: the library's default.

    Raises:
        InvalidParameter: `is_int8` without the compiled library.
    """

    def __init__(
        self, weights: EncoderWeights, pooling: PoolingName, *, is_int8: bool = False, threads: int | None = None
    ) -> None:
        self.vocab_size, self.dimension = weights.config.vocab_size, weights.config.hidden_size
        self._pooling = POOLINGS[pooling]
        self._native: NativeEncoder | None = None
        self._lock = threading.Lock()
        if library_for_encoder(weights.config) is not None:
            self._native = NativeEncoder(weights, is_int8=is_int8, threads=threads)
        elif is_int8:
            raise InvalidParameter("embedding_quantize", UNSUPPORTED_INT8)
        else:
            self._torch = Encoder(weights)

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Batches of similar length, the longest first; see `SequenceEmbedder.batches`."""
        return batch_by_length(lengths, MAX_BATCH_TOKENS)

    def embed(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Compute one batch: a vector of length 1 per sequence, in order.

        Args:
            sequences: token ids, at least 1 and at most the encoder's number of positions each.

        Raises:
            TurnwiseError: a vector is not finite.
        """
        with self._lock:
            vectors_NC = self._compute(sequences)
        if not np.isfinite(vectors_NC).all():
            raise TurnwiseError("The embedding model produced numbers that are not finite; its weights are damaged.")
        vectors: list[list[float]] = vectors_NC.tolist()
        return vectors

    def _compute(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        if self._native is not None:
            return self._native.forward(sequences, self._pooling, normalize=True)
        pooled = []
        for ids in sequences:
            hidden_TC = self._torch.hidden_states(torch.tensor(ids))
            pooled.append(hidden_TC.mean(dim=0) if self._pooling == Pooling.MEAN else hidden_TC[0])
        vectors_NC: NDArray[np.float32] = nn.functional.normalize(torch.stack(pooled), dim=-1).numpy()
        return vectors_NC


def batch_by_length(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Split sequences into batches of similar length, the longest first.

    Args:
        lengths: number of tokens of each sequence.
        max_tokens: maximum number of tokens of a batch. A longer sequence is a batch of its own.

    Yields:
        The indices of the sequences of a batch.
    """
    batch: list[int] = []
    num_tokens = 0
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if batch and num_tokens + lengths[number] > max_tokens:
            yield batch
            batch, num_tokens = [], 0
        batch.append(number)
        num_tokens += lengths[number]
    if batch:
        yield batch
