"""Examples laid end to end in a few long arrays: in memory, or in files that are mapped into it.

Text becomes tokens once. What is larger than memory stays on disk and is read as it is needed, and a run that goes on
finds its examples there.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from turnwise.core.files import atomic_directory, atomic_write
from turnwise.training.examples.batches import Example

# name: type of numbers. An example has `sizes` of them in `ids` and `targets`, `source_sizes` in `sources`, and so on.
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
BASE = "base.f32"


class ExampleShard(Sequence[Example]):
    """Examples in order. Those of one shard come from one source.

    Attributes:
        base: what each example knows of the model before training, `(examples, K)`; None before that is computed.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]], folder: Path | None = None) -> None:
        self._arrays, self._folder = arrays, folder
        self.lengths: NDArray[np.int32] = arrays["sizes"]
        self.labels: NDArray[np.float32] = np.array(arrays["labels"])  # a copy: objectives balance them
        self._starts = _starts(arrays["sizes"])
        self._source_starts = _starts(arrays["source_sizes"])
        self._weight_starts = _starts(np.where(arrays["weighted"], arrays["sizes"], 0))
        self._part_starts = _starts(arrays["part_counts"])
        self._label_starts = _starts(arrays["label_counts"])
        self.ref_logprobs: NDArray[np.float32] | None = None
        if folder is not None and (folder / BASE).is_file():
            self.ref_logprobs = np.fromfile(folder / BASE, np.float32).reshape(len(self), -1 if len(self) else 0)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Tokens that go in, those of sources included."""
        return int(self._starts[-1] + self._source_starts[-1])

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Example]: ...

    def __getitem__(self, place: int | slice) -> Example | Sequence[Example]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        place = place + len(self) if place < 0 else place
        if not 0 <= place < len(self):
            raise IndexError(place)
        arrays = self._arrays
        tokens = slice(self._starts[place], self._starts[place + 1])
        weights = slice(self._weight_starts[place], self._weight_starts[place + 1])
        source = slice(self._source_starts[place], self._source_starts[place + 1])
        return Example(
            ids=arrays["ids"][tokens],
            targets=arrays["targets"][tokens],
            weights=arrays["weights"][weights] if arrays["weighted"][place] else None,
            units=float(arrays["units"][place]),
            parts=tuple(arrays["part_sizes"][self._part_starts[place] : self._part_starts[place + 1]].tolist()),
            labels=tuple(self.labels[self._label_starts[place] : self._label_starts[place + 1]].tolist()),
            source=arrays["sources"][source] if source.start < source.stop else None,
            ref_logprobs=() if self.ref_logprobs is None else tuple(self.ref_logprobs[place].tolist()),
        )

    def save_ref_logprobs(self, base: NDArray[np.float32]) -> None:
        """Remember what the examples know of the model before training, `(examples, K)`."""
        self.ref_logprobs = base
        if self._folder is not None:
            atomic_write(self._folder / BASE, base.astype(np.float32).tobytes())

    def digest(self, into: Any) -> None:
        """Feed everything that is learned from into a hash."""
        for name in ("ids", "targets", "weights", "sources", "sizes", "units", "part_sizes", "labels"):
            into.update(np.ascontiguousarray(self._arrays[name]).data if len(self._arrays[name]) else b"")
            into.update(b"|")


def _starts(sizes: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


def in_memory_shard(examples: Iterable[Example]) -> ExampleShard:
    """A shard that is not on disk."""
    pieces: dict[str, list[NDArray[Any]]] = {name: [] for name in ARRAYS}
    for example in examples:
        for name, values in _laid_out(example):
            pieces[name].append(values)
    return ExampleShard({name: np.concatenate(found or [np.empty(0, ARRAYS[name])]) for name, found in pieces.items()})


def write_shard(folder: Path, examples: Iterable[Example]) -> ExampleShard:
    """Write examples into `folder`, whole or not at all, as they come, and open it."""
    with atomic_directory(folder) as inside, ExitStack() as stack:
        files: dict[str, IO[bytes]] = {name: stack.enter_context((inside / name).open("wb")) for name in ARRAYS}
        for example in examples:
            for name, values in _laid_out(example):
                files[name].write(values.tobytes())
    return open_shard(folder)


def open_shard(folder: Path) -> ExampleShard:
    """A shard on disk."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, kind in ARRAYS.items():
        path = folder / name
        # An empty file cannot be mapped.
        arrays[name] = np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)
    return ExampleShard(arrays, folder)


def _laid_out(example: Example) -> Iterator[tuple[str, NDArray[Any]]]:
    assert example.kl_example is None, "contrasts are made of neighbours, when they are needed"
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
    yield "part_counts", np.array([len(example.parts)], np.int32)
    yield "part_sizes", np.array(example.parts, np.int32)
    yield "label_counts", np.array([len(example.labels)], np.int32)
    yield "labels", np.array(example.labels, np.float32)
