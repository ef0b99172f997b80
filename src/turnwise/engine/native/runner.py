"""Runs the decoder over slots with the compiled library: any rows of any chats in one pass.

Every row is computed on its own, in one order of additions, so a chat's numbers are the same to the last bit alone and
in company, read at once or in parts, on one thread or on many.
"""

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from ctypes import CDLL, byref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turnwise.core.ports import Quantize
from turnwise.engine.native.library import Batch, Cache, library
from turnwise.engine.native.weights import PackedModel
from turnwise.models.config import DecoderConfig
from turnwise.models.decoder import Decoder

ROWS = 512  # most rows in a pass; bounds its memory
Numbers = NDArray[np.int32]
GROWTH = 256  # tokens; slots grow in these steps, so short chats take little memory


def supports(decoder: Decoder) -> bool:
    """Whether the library is here and computes this decoder: on a processor, sizes of whole vectors.

    Whatever type the weights have, the arithmetic is float32.
    """
    return decoder.embed.weight.device.type == "cpu" and library(*_sizes(decoder.config)) is not None


def _sizes(config: DecoderConfig) -> tuple[int, int]:
    """What vectors have to divide."""
    return config.hidden_size, config.head_dim


class NativeRunner:
    """A decoder with a cache of `slots` chats (the `engine.runner.Runner` protocol)."""

    def __init__(
        self, decoder: Decoder, slots: int, threads: int | None = None, quantize: Quantize | None = None
    ) -> None:
        found = library(*_sizes(decoder.config))
        assert found is not None, "asked for by `supports`"
        self._library = found
        self.packed = PackedModel(decoder, found.turnwise_panel(), found.turnwise_group(), quantize)
        self._handle = found.turnwise_create(byref(self.packed.struct), threads or _threads())
        if not self._handle:
            raise MemoryError("the engine's threads could not be started")
        # Not at exit: a daemon thread may still be inside it. And not in a forked child, which has none of its threads.
        weakref.finalize(self, _destroy, found, self._handle, os.getpid()).atexit = False
        self._vocab_size, self._hidden_size = decoder.config.vocab_size, decoder.config.hidden_size
        self.kind = "-".join(["native", found.turnwise_arithmetic().decode(), *([quantize] if quantize else [])])
        self._cache = TiledCache(decoder.config, slots, found.turnwise_tile())

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

    def prefill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read prompts into their slots; the logits after the last token of each, `(B, V)`."""
        lengths = [len(prompt) for prompt in prompts]
        self._cache.reserve(max(lengths))
        self._cache.wrote(slots, lengths)
        ids = np.concatenate([np.asarray(prompt, np.int32) for prompt in prompts])
        rows_slots = np.repeat(np.asarray(slots, np.int32), lengths)
        positions = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
        lasts = np.cumsum(lengths) - 1
        found = []
        for start in range(0, len(ids), ROWS):
            part = slice(start, start + ROWS)
            wanted = lasts[(lasts >= start) & (lasts < start + ROWS)] - start
            found.append(self._forward(ids[part], rows_slots[part], positions[part], wanted.astype(np.int32)))
        return torch.cat(found)

    def read(self, slot: int, ids: Sequence[int], *, hidden: bool = False) -> Iterator[Tensor]:
        """Read one prompt into its slot, a part at a time: the logits, or hidden states, after each token."""
        self._cache.reserve(len(ids))
        self._cache.wrote([slot], [len(ids)])
        numbers, positions = np.asarray(ids, np.int32), np.arange(len(ids), dtype=np.int32)
        slots = np.full(len(ids), slot, np.int32)
        for start in range(0, len(ids), ROWS):
            part = slice(start, start + ROWS)
            wanted = np.arange(len(numbers[part]), dtype=np.int32)
            yield self._forward(numbers[part], slots[part], positions[part], wanted, hidden=hidden)

    def decode(self, ids: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """One token further in the first B slots; the logits after it, `(B, V)`.

        Args:
            ids: the last token of each chat, not yet in the cache.
            lengths: tokens in the cache of each.
        """
        self._cache.reserve(max(lengths) + 1)
        self._cache.wrote(range(len(ids)), [length + 1 for length in lengths])
        rows = np.arange(len(ids), dtype=np.int32)
        return self._forward(np.asarray(ids, np.int32), rows, np.asarray(lengths, np.int32), rows)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a slot over another."""
        self._cache.move(source, target, length)

    def clear(self, slot: int) -> None:
        """Nothing to do: what a chat left behind is never read, being after every later chat's tokens."""

    def _forward(
        self, ids: Numbers, slots: Numbers, positions: Numbers, wanted: Numbers, *, hidden: bool = False
    ) -> Tensor:
        assert 0 <= ids.min() <= ids.max() < self._vocab_size, "the engine checks ids"
        width = self._hidden_size if hidden else self._vocab_size
        out = torch.empty(len(wanted), width, dtype=torch.float32, device="cpu")
        batch = Batch(
            ids.ctypes.data, slots.ctypes.data, positions.ctypes.data, wanted.ctypes.data, len(ids), len(wanted), hidden
        )
        if self._library.turnwise_forward(self._handle, byref(batch), byref(self._cache.struct), out.data_ptr()):
            raise MemoryError("no memory for a pass of the decoder")
        return out


def _threads() -> int:
    """As many as torch would take, but no more than there are cores for us: threads that wait for each other at every
    layer are slower together on one core than one of them alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(torch.get_num_threads(), cores)


def _destroy(library: CDLL, handle: int, process: int) -> None:
    if os.getpid() == process:
        library.turnwise_destroy(handle)


class TiledCache:
    """Keys and values of all slots, in the layout of `attention.hpp`: S slots, K heads, L tokens, D head size."""

    def __init__(self, config: DecoderConfig, slots: int, tile: int) -> None:
        self._shape = (config.num_layers, slots, config.num_kv_heads)
        self._head_dim, self._tile = config.head_dim, tile
        self._limit = -(-config.context_length // tile) * tile
        self._capacity = 0
        self._written = [0] * slots  # tokens that each slot has ever held: the rest was never touched
        self._keys, self._values = self._empty(0)
        self.struct = Cache()
        self.reserve(min(GROWTH, self._limit))

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in every slot."""
        if length <= self._capacity:
            return
        if length > self._limit:
            raise ValueError(f"a slot holds at most {self._limit} tokens, not {length}")
        capacity = min(self._limit, max(-(-length // GROWTH) * GROWTH, min(2 * self._capacity, self._limit)))
        keys, values = self._empty(capacity)
        for slot, length in enumerate(self._written):
            tiles = -(-length // self._tile)
            keys[:, slot, :, :tiles] = self._keys[:, slot, :, :tiles]
            values[:, slot, :, :length] = self._values[:, slot, :, :length]
        self._keys, self._values, self._capacity = keys, values, capacity
        self.struct = Cache(keys.ctypes.data, values.ctypes.data, self._shape[1], capacity)

    def wrote(self, slots: Iterable[int], lengths: Sequence[int]) -> None:
        """Slots are about to hold so many tokens."""
        for slot, length in zip(slots, lengths, strict=True):
            self._written[slot] = max(self._written[slot], length)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a slot over another."""
        self.wrote([target], [length])
        tiles = -(-length // self._tile)
        self._keys[:, target, :, :tiles] = self._keys[:, source, :, :tiles]
        self._values[:, target, :, :length] = self._values[:, source, :, :length]

    def _empty(self, capacity: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        tiles = capacity // self._tile
        # Memory of zeros costs nothing until somebody writes to it.
        keys = np.zeros((*self._shape, tiles, self._head_dim, self._tile), np.float32)
        return keys, np.zeros((*self._shape, capacity, self._head_dim), np.float32)
