"""Model runner that computes the decoder with the compiled library.

Every row is computed independently and with one order of additions, so a sequence's outputs are the same to the last
bit alone or in a batch, in one chunk or several, on one thread or many.

Shapes: N sequences, R rows (new tokens), C hidden size, V vocabulary.
"""

import os
import weakref
from collections.abc import Mapping, Sequence
from ctypes import CDLL, byref

import numpy as np
import torch
from torch import Tensor

from turnwise.core.inference import Quantization
from turnwise.engine.batch import BatchEntry
from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE
from turnwise.engine.native.library import library
from turnwise.engine.native.packed_adapter import PackedAdapter
from turnwise.engine.native.packed_model import PackedModel
from turnwise.engine.native.structs import Batch, KVCacheView
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.decoder_weights import DecoderWeights, as_decoder_weights
from turnwise.models.lora_factors import LoraFactors, changes_only_layers
from turnwise.models.torch_threads import use_one_thread

INVALID_BATCH = 2  # returned by turnwise_forward; other nonzero values mean that memory ran out


def is_supported(weights: DecoderWeights) -> bool:
    """True if the library can compute this decoder: it is on the CPU and its sizes are multiples of the vector width.

    Weights of any dtype are supported; the arithmetic is float32.
    """
    return weights.device.type == "cpu" and fits(weights.config)


def fits(config: DecoderConfig) -> bool:
    """True if the library is usable and supports a decoder's sizes."""
    return _library_for(config) is not None


def _library_for(config: DecoderConfig) -> CDLL | None:
    return library(config.hidden_size, config.head_dim)


def is_quantized(weights: DecoderWeights, quantize: Quantization | None = None) -> bool:
    """True if the library computes with integers: weights to be quantized, or in a block format."""
    return quantize is not None or any(weights.block_formats(name) is not None for name in weights.shapes)


class NativeRunner:
    """Runs a decoder with a KV cache of `num_blocks` blocks (implements `model_runner.ModelRunner`).

    Args:
        decoder: the model in memory or its weights.
        num_blocks: size of the KV cache.
        threads: size of the thread pool. Default: `default_threads()`.
        quantize: quantize the weights to "int8" or "int4".

    Raises:
        ValueError: the library rejects the model.
        MemoryError: the threads cannot be started.
    """

    batch_invariant = True

    def __init__(
        self,
        decoder: Decoder | DecoderWeights,
        num_blocks: int,
        threads: int | None = None,
        quantize: Quantization | None = None,
    ) -> None:
        weights = as_decoder_weights(decoder)
        config = weights.config
        native = _library_for(config)
        assert native is not None, "callers check `is_supported`"
        self._library = native
        self.packed = PackedModel(
            weights, native.turnwise_panel_size(), native.turnwise_group_size(), quantize, num_blocks * BLOCK_SIZE
        )
        self._handle = native.turnwise_create(byref(self.packed.struct), threads or default_threads())
        if not self._handle:
            if reason := native.turnwise_last_error():
                raise ValueError(f"The compiled library rejects the model: {reason.decode()}.")
            raise MemoryError("The threads of the engine could not be started.")
        # Not at exit: a daemon thread may still be inside the library. Not in a forked child: it has none of the
        # threads.
        weakref.finalize(self, _destroy, native, self._handle, os.getpid()).atexit = False
        self._vocab_size, self._hidden_size = config.vocab_size, config.hidden_size
        weight_kind = quantize or ("blocks" if is_quantized(weights) else "")
        self.kind = "-".join(filter(None, ["native", native.turnwise_instruction_set().decode(), weight_kind]))
        self._config = config
        self._adapters: dict[str, PackedAdapter] = {}
        assert native.turnwise_block_size() == BLOCK_SIZE, "both sides use the same block size"
        shape = (config.num_layers, num_blocks, config.num_kv_heads)
        # np.zeros takes no physical memory until a block is written. With quantized weights, keys and values are stored
        # as bfloat16 (numpy has no such type, hence uint16): with many or long sequences, reading them dominates a
        # step.
        is_half = is_quantized(weights, quantize)
        dtype = np.uint16 if is_half else np.float32
        self._keys = np.zeros((*shape, config.head_dim, BLOCK_SIZE), dtype)
        self._values = np.zeros((*shape, BLOCK_SIZE, config.head_dim), dtype)
        self._cache = KVCacheView(self._keys.ctypes.data, self._values.ctypes.data, num_blocks, is_half)

    def load_lora(self, name: str, factors: Mapping[str, LoraFactors]) -> bool:
        """Register an adapter for entries with this name; False if it changes more than the layers' matrices."""
        if not changes_only_layers(factors):
            return False
        self._adapters[name] = PackedAdapter(
            factors, self._config, self._library.turnwise_panel_size(), self._library.turnwise_vector_width()
        )
        return True

    def unload_lora(self, name: str) -> None:
        """Free the matrices of an adapter."""
        self._adapters.pop(name, None)

    @property
    def active_threads(self) -> int:
        """Threads that compute at present; fewer than the pool has while other processes need the cores."""
        return int(self._library.turnwise_active_threads(self._handle))

    def set_test_perturbation(self, limit: int = 0, seed: int = 0, max_pause: int = 0) -> None:
        """For tests: fix the number of threads, cut work into random chunks, delay threads.

        Args:
            limit: number of threads; 0 adapts it to the load.
            seed: random chunk sizes if not 0.
            max_pause: longest delay before and after a chunk, in microseconds.
        """
        self._library.turnwise_set_test_perturbation(self._handle, limit, seed, max_pause)

    def enter(self) -> None:
        """Limit torch to one thread in the calling thread, which only samples with it."""
        use_one_thread()

    def forward(self, batch: Sequence[BatchEntry], *, return_hidden: bool = False) -> Tensor:
        """Compute the new tokens of all entries; returns logits `(R, V)` or hidden states `(R, C)` of output rows."""
        # Rows with the same adapter are made neighbours, so that its matrices are read once for all of them.
        order = sorted(range(len(batch)), key=lambda number: batch[number].adapter)
        if order == list(range(len(batch))):
            return self._forward(batch, return_hidden=return_hidden)
        outputs = self._forward([batch[number] for number in order], return_hidden=return_hidden)
        by_entry = torch.split(outputs, [batch[number].num_outputs for number in order])
        return torch.cat([by_entry[position] for position in np.argsort(order)])

    def _forward(self, entries: Sequence[BatchEntry], *, return_hidden: bool) -> Tensor:
        """Convert the entries to arrays with one element per sequence (_N) or per row (_R), and call the library."""
        num_sequences = len(entries)
        lengths_N = np.fromiter((len(entry.ids) for entry in entries), np.int32, num_sequences)
        starts_N = np.fromiter((entry.start for entry in entries), np.int32, num_sequences)
        num_outputs_N = np.fromiter((entry.num_outputs for entry in entries), np.int32, num_sequences)
        ids_R = np.fromiter((id for entry in entries for id in entry.ids), np.int32, lengths_N.sum())
        sequences_R = np.arange(num_sequences, dtype=np.int32).repeat(lengths_N)
        first_rows_R = (lengths_N.cumsum(dtype=np.int32) - lengths_N).repeat(lengths_N)
        rows_R = np.arange(len(ids_R), dtype=np.int32)
        offsets_R = rows_R - first_rows_R  # within the new tokens of the row's sequence
        output_rows = rows_R[offsets_R >= (lengths_N - num_outputs_N).repeat(lengths_N)]
        positions_R = starts_N.repeat(lengths_N) + offsets_R
        block_tables_N = np.fromiter((entry.blocks.buffer_info()[0] for entry in entries), np.uintp, num_sequences)
        block_table_lengths_N = np.fromiter((len(entry.blocks) for entry in entries), np.int32, num_sequences)
        adapters = [self._adapters[entry.adapter] if entry.adapter else None for entry in entries]
        adapters_N = np.fromiter(
            (0 if packed is None else packed.pointer for packed in adapters), np.uintp, num_sequences
        )
        out = torch.empty(
            len(output_rows), self._hidden_size if return_hidden else self._vocab_size, dtype=torch.float32
        )
        batch = Batch(
            ids=ids_R.ctypes.data,
            sequences=sequences_R.ctypes.data,
            positions=positions_R.ctypes.data,
            output_rows=output_rows.ctypes.data,
            block_tables=block_tables_N.ctypes.data,
            block_table_lengths=block_table_lengths_N.ctypes.data,
            adapters=adapters_N.ctypes.data,
            num_rows=len(ids_R),
            num_output_rows=len(output_rows),
            return_hidden=return_hidden,
            num_sequences=num_sequences,
            max_lora_rank=max(0 if packed is None else packed.max_rank for packed in adapters),
        )
        status = self._library.turnwise_forward(self._handle, byref(batch), byref(self._cache), out.data_ptr())
        self._raise_for(status)
        return out

    def logits(self, hidden_RC: Tensor) -> Tensor:
        """Logits `(R, V)` from last hidden states."""
        hidden_RC = hidden_RC.contiguous()
        logits_RV = torch.empty(len(hidden_RC), self._vocab_size, dtype=torch.float32)
        self._raise_for(
            self._library.turnwise_logits(self._handle, hidden_RC.data_ptr(), len(hidden_RC), logits_RV.data_ptr())
        )
        return logits_RV

    def _raise_for(self, status: int) -> None:
        """Raise the error of a return code of the library."""
        if status == INVALID_BATCH:
            raise ValueError(f"The compiled library rejects the batch: {self._library.turnwise_last_error().decode()}.")
        if status:
            raise MemoryError("There is not enough memory for a forward pass.")

    def copy(self, source: int, target: int) -> None:
        """Copy the content of a block over another."""
        for cached in (self._keys, self._values):
            cached[:, target] = cached[:, source]

    def clear(self, blocks: Sequence[int]) -> None:
        """Nothing to do: the library never reads positions after a sequence's end, so old values do no harm."""


def default_threads() -> int:
    """Torch's number of threads, but no more than the cores available to this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(torch.get_num_threads(), cores)


def _destroy(native: CDLL, handle: int, process: int) -> None:
    if os.getpid() == process:
        native.turnwise_destroy(handle)
