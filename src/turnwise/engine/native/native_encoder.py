"""Computes an encoder with the compiled library. One call at a time: callers hold a lock.

Shapes: N sequences, C hidden size.
"""

import os
import weakref
from collections.abc import Sequence
from ctypes import CDLL, byref
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from turnwise.engine.native.library import library
from turnwise.engine.native.native_runner import INVALID_BATCH, default_threads
from turnwise.engine.native.packed_encoder import PackedEncoder
from turnwise.engine.native.structs import EncoderBatch, Pooling
from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_weights import EncoderWeights


def library_for_encoder(config: EncoderConfig) -> CDLL | None:
    """The best usable library that supports the encoder's sizes, or None."""
    return library(config.hidden_size, config.head_dim)


class NativeEncoder:
    """An encoder whose weights are packed for the library.

    Args:
        weights: the encoder's weights.
        is_int8: quantize the weights to 8 bits.
        threads: size of the thread pool. Default: `default_threads()`.

    Raises:
        ValueError: the library rejects the model.
        MemoryError: the threads cannot be started.
    """

    def __init__(self, weights: EncoderWeights, *, is_int8: bool = False, threads: int | None = None) -> None:
        native = library_for_encoder(weights.config)
        assert native is not None, "callers check `library_for_encoder`"
        self._library, self._hidden_size = native, weights.config.hidden_size
        panel, group = native.turnwise_panel_size(), native.turnwise_group_size()
        self.packed = PackedEncoder(weights, panel, group, is_int8=is_int8)
        self._handle = native.turnwise_create_encoder(byref(self.packed.struct), threads or default_threads())
        if not self._handle:
            if reason := native.turnwise_last_error():
                raise ValueError(f"The compiled library rejects the model: {reason.decode()}.")
            raise MemoryError("The threads of the encoder could not be started.")
        # As in `NativeRunner`: not at exit, and not in a forked child.
        weakref.finalize(self, _destroy, native, self._handle, os.getpid()).atexit = False

    def forward(
        self, sequences: Sequence[Sequence[int]], pooling: Pooling, *, normalize: bool = False
    ) -> NDArray[np.float32]:
        """Encode sequences of token ids, none of them empty.

        Args:
            sequences: token ids of each sequence.
            pooling: MEAN or CLS returns a vector per sequence, `(N, C)`; NONE returns the hidden states of all
                tokens, one sequence after the other.
            normalize: scale pooled vectors to length 1.

        Raises:
            ValueError: a sequence is empty or too long, or an id is not in the vocabulary.
            MemoryError: memory ran out.
        """
        starts = np.zeros(len(sequences) + 1, np.int32)
        np.cumsum([len(ids) for ids in sequences], out=starts[1:])
        ids = np.fromiter(chain.from_iterable(sequences), np.int32, starts[-1])
        num_rows = int(starts[-1]) if pooling == Pooling.NONE else len(sequences)
        out = np.empty((num_rows, self._hidden_size), np.float32)
        batch = EncoderBatch(ids.ctypes.data, starts.ctypes.data, len(sequences), pooling, normalize)
        status = self._library.turnwise_encode(self._handle, byref(batch), out.ctypes.data)
        if status == INVALID_BATCH:
            raise ValueError(f"The compiled library rejects the batch: {self._library.turnwise_last_error().decode()}.")
        if status:
            raise MemoryError("There is not enough memory for a forward pass.")
        return out

    def set_test_perturbation(self, limit: int = 0, seed: int = 0, max_pause: int = 0) -> None:
        """For tests; arguments as for `NativeRunner.set_test_perturbation`."""
        self._library.turnwise_set_encoder_perturbation(self._handle, limit, seed, max_pause)


def _destroy(native: CDLL, handle: int, process: int) -> None:
    if os.getpid() == process:
        native.turnwise_destroy_encoder(handle)
