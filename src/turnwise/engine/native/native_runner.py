"""Runs the decoder over blocks with the compiled library: any rows of any chats in one pass.

Every row is computed on its own, in one order of additions, so a chat's numbers are the same to the last bit alone and
in company, read at once or in parts, on one thread or on many.
"""

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from ctypes import CDLL, byref

import numpy as np
import torch
from torch import Tensor

from turnwise.core.inference import Quantization
from turnwise.engine.batch import BatchEntry
from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE
from turnwise.engine.native.library import Batch, Cache, library
from turnwise.engine.native.packed_adapter import PackedAdapter
from turnwise.engine.native.packed_model import PackedModel
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.decoder_weights import DecoderWeights, as_decoder_weights
from turnwise.models.lora_factors import LoraFactors, changes_only_layers


def is_supported(weights: DecoderWeights) -> bool:
    """Whether the library is here and computes this decoder: on a processor, sizes of whole vectors.

    Whatever type the weights have, the arithmetic is float32.
    """
    return weights.device.type == "cpu" and fits(weights.config)


def fits(config: DecoderConfig) -> bool:
    """Whether the library is here and has vectors for a decoder's sizes."""
    return library(*_sizes(config)) is not None


def _sizes(config: DecoderConfig) -> tuple[int, int]:
    """What vectors have to divide."""
    return config.hidden_size, config.head_dim


class NativeRunner:
    """A decoder with a cache of `blocks` (the `engine.runner.Runner` protocol)."""

    batch_invariant = True

    def __init__(
        self,
        decoder: Decoder | DecoderWeights,
        blocks: int,
        threads: int | None = None,
        quantize: Quantization | None = None,
    ) -> None:
        weights = as_decoder_weights(decoder)
        config = weights.config
        found = library(*_sizes(config))
        assert found is not None, "asked for by `supports`"
        self._library = found
        self.packed = PackedModel(
            weights, found.turnwise_panel(), found.turnwise_group(), quantize, blocks * BLOCK_SIZE
        )
        self._handle = found.turnwise_create(byref(self.packed.struct), threads or _threads())
        if not self._handle:
            if refusal := found.turnwise_error():
                raise ValueError(f"The compiled library refuses the model: {refusal.decode()}.")
            raise MemoryError("the engine's threads could not be started")
        # Not at exit: a daemon thread may still be inside it. And not in a forked child, which has none of its threads.
        weakref.finalize(self, _destroy, found, self._handle, os.getpid()).atexit = False
        self._vocab_size, self._hidden_size = config.vocab_size, config.hidden_size
        self.kind = "-".join(["native", found.turnwise_arithmetic().decode(), *([quantize] if quantize else [])])
        self._config = config
        self._adapters: dict[str, PackedAdapter] = {}
        assert found.turnwise_tile() == BLOCK_SIZE, "a block is a tile of keys"
        shape = (config.num_layers, blocks, config.num_kv_heads)
        # Memory of zeros costs nothing until somebody writes to it. Where weights are rounded, keys and values are too,
        # to bfloat16: with many chats or long ones, reading them takes longer than anything else.
        number = np.float32 if quantize is None else np.uint16
        self._keys = np.zeros((*shape, config.head_dim, BLOCK_SIZE), number)
        self._values = np.zeros((*shape, BLOCK_SIZE, config.head_dim), number)
        self._cache = Cache(self._keys.ctypes.data, self._values.ctypes.data, blocks, quantize is not None)

    def load_lora(self, name: str, thin: Mapping[str, LoraFactors]) -> bool:
        """From now on compute spans of this adapter with these changes, which stay until the runner goes."""
        if not changes_only_layers(thin):
            return False
        self._adapters[name] = PackedAdapter(
            thin, self._config, self._library.turnwise_panel(), self._library.turnwise_width()
        )
        return True

    @property
    def active_threads(self) -> int:
        """Threads that compute at present: fewer than there are while other processes need the cores."""
        return int(self._library.turnwise_threads(self._handle))

    def disturb(self, limit: int = 0, seed: int = 0, pause: int = 0) -> None:
        """For tests: `limit` threads (0: as many as pay), random chunks with a seed, pauses in microseconds."""
        self._library.turnwise_disturb(self._handle, limit, seed, pause)

    def enter(self) -> None:
        """Keep torch to one thread in this one, where it only samples.

        Its helpers wait for more work by spinning, on the cores that our own team computes on: a step of 8 chats took
        three times as long. The number is each thread's own, but also what later threads start with, hence the detour.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        restore = threading.Thread(target=torch.set_num_threads, args=(threads,))
        restore.start()
        restore.join()

    def forward(self, spans: Sequence[BatchEntry], *, hidden: bool = False) -> Tensor:
        """Read every span's tokens; the logits, or hidden states, after those that are wanted, `(R, V)` or `(R, C)`."""
        # Rows of one adapter are computed together, so its matrices are read once.
        order = sorted(range(len(spans)), key=lambda number: spans[number].adapter)
        if order == list(range(len(spans))):
            return self._forward(spans, hidden=hidden)
        found = self._forward([spans[number] for number in order], hidden=hidden)
        parts = torch.split(found, [spans[number].num_outputs for number in order])
        return torch.cat([part for _, part in sorted(zip(order, parts, strict=True), key=lambda pair: pair[0])])

    def _forward(self, spans: Sequence[BatchEntry], *, hidden: bool) -> Tensor:
        counts = np.fromiter((len(span.ids) for span in spans), np.int32, len(spans))
        starts = np.fromiter((span.start for span in spans), np.int32, len(spans))
        wanted = np.fromiter((span.num_outputs for span in spans), np.int32, len(spans))
        ids = np.fromiter((id for span in spans for id in span.ids), np.int32, counts.sum())
        lines = np.arange(len(spans), dtype=np.int32).repeat(counts)
        before = (counts.cumsum(dtype=np.int32) - counts).repeat(counts)  # rows of earlier spans
        rows = np.arange(len(ids), dtype=np.int32)
        asked = rows[rows - before >= (counts - wanted).repeat(counts)]
        positions = starts.repeat(counts) + rows - before
        tables = np.fromiter((span.blocks.buffer_info()[0] for span in spans), np.uintp, len(spans))
        table_lengths = np.fromiter((len(span.blocks) for span in spans), np.int32, len(spans))
        out = torch.empty(len(asked), self._hidden_size if hidden else self._vocab_size, dtype=torch.float32)
        used = [self._adapters[span.adapter] if span.adapter else None for span in spans]
        changes = np.fromiter((0 if adapter is None else adapter.pointer for adapter in used), np.uintp, len(spans))
        batch = Batch(
            *(array.ctypes.data for array in (ids, lines, positions, asked, tables, table_lengths, changes)),
            rows=len(ids),
            wanted_rows=len(asked),
            hidden=hidden,
            line_count=len(spans),
            ranks=max(0 if adapter is None else adapter.ranks for adapter in used),
        )
        failed = self._library.turnwise_forward(self._handle, byref(batch), byref(self._cache), out.data_ptr())
        if failed == 2:
            raise ValueError(f"The compiled library refuses the batch: {self._library.turnwise_error().decode()}.")
        if failed:
            raise MemoryError("no memory for a pass of the decoder")
        return out

    def logits(self, hidden_RC: Tensor) -> Tensor:
        """The logits after last hidden states, `(R, V)`."""
        hidden_RC = hidden_RC.contiguous()
        out = torch.empty(len(hidden_RC), self._vocab_size, dtype=torch.float32)
        if self._library.turnwise_logits(self._handle, hidden_RC.data_ptr(), len(hidden_RC), out.data_ptr()):
            raise MemoryError("no memory for a pass of the decoder")
        return out

    def copy(self, source: int, target: int) -> None:
        """Copy a block's keys and values over another's."""
        for held in (self._keys, self._values):
            held[:, target] = held[:, source]

    def clear(self, blocks: Sequence[int]) -> None:
        """Nothing to do: what a chat left behind is never read, being after every later chat's tokens."""


def _threads() -> int:
    """As many as torch would take, but no more than there are cores for us; the pool takes fewer while others run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(torch.get_num_threads(), cores)


def _destroy(library: CDLL, handle: int, process: int) -> None:
    if os.getpid() == process:
        library.turnwise_destroy(handle)
