"""Storage of examples in a few flat arrays, in memory or in memory-mapped files.

Text is tokenized once. Data larger than memory stays on disk, and a resumed run reuses the files.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from turnwise.core.files import atomic_directory, atomic_write
from turnwise.training.examples.batches import Example

# Array name → dtype. Arrays of all examples are concatenated: `sizes[i]` values of example i in `ids` and `targets`,
# `source_sizes[i]` in `sources`, `part_counts[i]` in `part_sizes`, `label_counts[i]` in `labels`.
ARRAYS = {
    "ids": np.int32,
    "targets": np.int32,
    "weights": np.float32,
    "sources": np.int32,
    "sizes": np.int32,
    "source_sizes": np.int32,
    "weighted": np.bool_,
    "units": np.float32,
    "part_counts": np.int32,
    "part_sizes": np.int32,
    "label_counts": np.int32,
    "labels": np.float32,
}
REF_LOGPROBS_FILE = "base.f32"


class ExampleShard(Sequence[Example]):
    """The examples of one source, in order.

    Attributes:
        lengths: token count of each example.
        labels: labels of all examples, concatenated; objectives rescale them.
        ref_logprobs: reference log-probabilities, `(examples, K)`; None before they are computed.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]], folder: Path | None = None) -> None:
        self._arrays, self._folder = arrays, folder
        self.lengths: NDArray[np.int32] = arrays["sizes"]
        self.labels: NDArray[np.float32] = np.array(arrays["labels"])  # a copy, since the files are read-only
        self._starts = _offsets(arrays["sizes"])
        self._source_starts = _offsets(arrays["source_sizes"])
        self._weight_starts = _offsets(np.where(arrays["weighted"], arrays["sizes"], 0))
        self._segment_starts = _offsets(arrays["part_counts"])
        self._label_starts = _offsets(arrays["label_counts"])
        self.ref_logprobs: NDArray[np.float32] | None = None
        if folder is not None and (folder / REF_LOGPROBS_FILE).is_file():
            values = np.fromfile(folder / REF_LOGPROBS_FILE, np.float32)
            self.ref_logprobs = values.reshape(len(self), -1 if len(self) else 0)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Tokens of all examples, including encoder tokens."""
        return int(self._starts[-1] + self._source_starts[-1])

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        arrays = self._arrays
        tokens = slice(self._starts[index], self._starts[index + 1])
        weights = slice(self._weight_starts[index], self._weight_starts[index + 1])
        source = slice(self._source_starts[index], self._source_starts[index + 1])
        segments = slice(self._segment_starts[index], self._segment_starts[index + 1])
        labels = slice(self._label_starts[index], self._label_starts[index + 1])
        return Example(
            ids=arrays["ids"][tokens],
            targets=arrays["targets"][tokens],
            weights=arrays["weights"][weights] if arrays["weighted"][index] else None,
            units=float(arrays["units"][index]),
            segment_lengths=tuple(arrays["part_sizes"][segments].tolist()),
            labels=tuple(self.labels[labels].tolist()),
            source=arrays["sources"][source] if source.start < source.stop else None,
            ref_logprobs=() if self.ref_logprobs is None else tuple(self.ref_logprobs[index].tolist()),
        )

    def save_ref_logprobs(self, ref_logprobs: NDArray[np.float32]) -> None:
        """Set the reference log-probabilities, `(examples, K)`, and write them beside the arrays on disk."""
        self.ref_logprobs = ref_logprobs
        if self._folder is not None:
            atomic_write(self._folder / REF_LOGPROBS_FILE, ref_logprobs.astype(np.float32).tobytes())

    def digest(self, into: Any) -> None:
        """Update a `hashlib` object with everything that affects training."""
        for name in ("ids", "targets", "weights", "sources", "sizes", "units", "part_sizes", "labels"):
            into.update(np.ascontiguousarray(self._arrays[name]).data if len(self._arrays[name]) else b"")
            into.update(b"|")


def _offsets(sizes: NDArray[Any]) -> NDArray[np.int64]:
    """Start of each example's values, and the total."""
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


def in_memory_shard(examples: Iterable[Example]) -> ExampleShard:
    """Build a shard in memory."""
    chunks: dict[str, list[NDArray[Any]]] = {name: [] for name in ARRAYS}
    for example in examples:
        for name, values in _flatten(example):
            chunks[name].append(values)
    return ExampleShard(
        {name: np.concatenate(arrays or [np.empty(0, ARRAYS[name])]) for name, arrays in chunks.items()}
    )


def write_shard(folder: Path, examples: Iterable[Example]) -> ExampleShard:
    """Write examples to `folder` atomically, one at a time, and open it."""
    with atomic_directory(folder) as directory, ExitStack() as stack:
        files: dict[str, IO[bytes]] = {name: stack.enter_context((directory / name).open("wb")) for name in ARRAYS}
        for example in examples:
            for name, values in _flatten(example):
                files[name].write(values.tobytes())
    return open_shard(folder)


def open_shard(folder: Path) -> ExampleShard:
    """Open a shard on disk; its arrays are memory-mapped."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype in ARRAYS.items():
        path = folder / name
        # An empty file cannot be mapped.
        arrays[name] = np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)
    return ExampleShard(arrays, folder)


def _flatten(example: Example) -> Iterator[tuple[str, NDArray[Any]]]:
    assert example.kl_example is None, "KL examples are built from neighbours when they are needed"
    source = np.empty(0, np.int32) if example.source is None else example.source
    yield "ids", example.ids.astype(np.int32, copy=False)
    yield "targets", example.targets.astype(np.int32, copy=False)
    if example.weights is not None:
        yield "weights", example.weights.astype(np.float32, copy=False)
    yield "sources", source.astype(np.int32, copy=False)
    yield "sizes", np.array([example.size], np.int32)
    yield "source_sizes", np.array([len(source)], np.int32)
    yield "weighted", np.array([example.weights is not None])
    yield "units", np.array([example.units], np.float32)
    yield "part_counts", np.array([len(example.segment_lengths)], np.int32)
    yield "part_sizes", np.array(example.segment_lengths, np.int32)
    yield "label_counts", np.array([len(example.labels)], np.int32)
    yield "labels", np.array(example.labels, np.float32)
