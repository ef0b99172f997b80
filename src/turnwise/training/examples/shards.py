"""Storage of examples in a few flat arrays, in memory or in memory-mapped files.

Text is tokenized once. Data larger than memory stays on disk, and a resumed run reuses the files.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from turnwise.core.files import atomic_directory, atomic_write
from turnwise.training.examples.example import Example

# Array name → dtype. Arrays of all examples are concatenated: `sizes[i]` values of example i in `ids` and `targets`,
# `encoder_sizes[i]` in `encoder_ids`, `segment_counts[i]` in `segment_sizes`. `label_sets[i]` is an index into the
# label sets in `LABELS_FILE`; each label has an array of its own (`LabelSpec.array`). If `LabelSpec.has_table`, its
# values are row numbers in a table (`LabelSpec.table`), which has every distinct row once.
ARRAYS = {
    "ids": np.int32,
    "targets": np.int32,
    "weights": np.float32,
    "encoder_ids": np.int32,
    "sizes": np.int32,
    "encoder_sizes": np.int32,
    "weighted": np.bool_,
    "units": np.float32,
    "segment_counts": np.int32,
    "segment_sizes": np.int32,
    "label_sets": np.int32,
}
LABELS_FILE = "labels.json"
REF_LOGPROBS_FILE = "base.f32"
FORMAT = 2  # changes with the files


class LabelSpec(NamedTuple):
    """A label of a shard: one row of `shape` per token or per segment."""

    level: Literal["token", "segment"]
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def array(self) -> str:
        """Name of the array with the rows of all examples."""
        return f"{self.level}_labels.{self.name}"

    @property
    def has_table(self) -> bool:
        """True for integer vectors of tokens, such as features of words, which repeat with the words."""
        return self.level == "token" and bool(self.shape) and np.issubdtype(np.dtype(self.dtype), np.integer)

    @property
    def table(self) -> str:
        """Name of the array with the distinct rows."""
        return f"{self.array}.rows"


LabelSet = tuple[LabelSpec, ...]
LabelTables = dict[str, dict[bytes, int]]
"""The number of every distinct row of a label, by the name of its array."""


class ExampleShard(Sequence[Example]):
    """The examples of one source, in order.

    Attributes:
        lengths: token count of each example.
        segment_labels: labels of all segments by name, concatenated; objectives rescale them.
        ref_logprobs: reference log-probabilities, `(examples, K)`; None before they are computed.
    """

    def __init__(
        self, arrays: dict[str, NDArray[Any]], label_sets: Sequence[LabelSet], folder: Path | None = None
    ) -> None:
        self._arrays, self._label_sets, self._folder = arrays, label_sets, folder
        self.lengths: NDArray[np.int32] = arrays["sizes"]
        self._starts = _offsets(arrays["sizes"])
        self._encoder_starts = _offsets(arrays["encoder_sizes"])
        self._weight_starts = _offsets(np.where(arrays["weighted"], arrays["sizes"], 0))
        self._segment_starts = _offsets(arrays["segment_counts"])
        self._label_starts = {spec: self._offsets_of_label(spec) for labels in label_sets for spec in labels}
        # Copies, since the files are read-only.
        self.segment_labels = {
            spec.name: np.array(arrays[spec.array]) for spec in self._label_starts if spec.level == "segment"
        }
        self.ref_logprobs: NDArray[np.float32] | None = None
        if folder is not None and (folder / REF_LOGPROBS_FILE).is_file():
            values = np.fromfile(folder / REF_LOGPROBS_FILE, np.float32)
            self.ref_logprobs = values.reshape(len(self), -1 if len(self) else 0)

    def _offsets_of_label(self, spec: LabelSpec) -> NDArray[np.int64]:
        """Start of each example's rows in a label array; an example without this label has none."""
        has_label = np.array([spec in labels for labels in self._label_sets])[self._arrays["label_sets"]]
        rows = self.lengths if spec.level == "token" else np.maximum(1, self._arrays["segment_counts"])
        return _offsets(np.where(has_label, rows, 0))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Tokens of all examples, including encoder tokens."""
        return int(self._starts[-1] + self._encoder_starts[-1])

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
        encoder = slice(self._encoder_starts[index], self._encoder_starts[index + 1])
        segments = slice(self._segment_starts[index], self._segment_starts[index + 1])
        return Example(
            ids=arrays["ids"][tokens],
            targets=arrays["targets"][tokens],
            weights=arrays["weights"][weights] if arrays["weighted"][index] else None,
            units=float(arrays["units"][index]),
            segment_lengths=tuple(arrays["segment_sizes"][segments].tolist()),
            token_labels=self._labels(index, "token"),
            segment_labels=self._labels(index, "segment"),
            encoder_ids=arrays["encoder_ids"][encoder] if encoder.start < encoder.stop else None,
            ref_logprobs=() if self.ref_logprobs is None else tuple(self.ref_logprobs[index].tolist()),
        )

    def _labels(self, index: int, level: str) -> dict[str, NDArray[Any]]:
        labels = {}
        for spec in self._label_sets[self._arrays["label_sets"][index]]:
            if spec.level == level:
                starts = self._label_starts[spec]
                values = self.segment_labels[spec.name] if level == "segment" else self._arrays[spec.array]
                rows = values[starts[index] : starts[index + 1]]
                labels[spec.name] = self._arrays[spec.table][rows] if spec.has_table else rows
        return labels

    def save_ref_logprobs(self, ref_logprobs: NDArray[np.float32]) -> None:
        """Set the reference log-probabilities, `(examples, K)`, and write them beside the arrays on disk."""
        self.ref_logprobs = ref_logprobs
        if self._folder is not None:
            atomic_write(self._folder / REF_LOGPROBS_FILE, ref_logprobs.astype(np.float32).tobytes())

    def digest(self, into: Any) -> None:
        """Update a `hashlib` object with everything that affects training."""
        labels = sorted(spec.array for spec in self._label_starts)
        labels += sorted(spec.table for spec in self._label_starts if spec.has_table)
        groups = [[name] for name in ("ids", "targets", "weights", "encoder_ids", "sizes", "units", "segment_sizes")]
        for names in [*groups, labels]:
            for name in names:
                into.update(np.ascontiguousarray(self._arrays[name]).data if len(self._arrays[name]) else b"")
            into.update(b"|")


def _offsets(sizes: NDArray[Any]) -> NDArray[np.int64]:
    """Start of each example's values, and the total."""
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


def in_memory_shard(examples: Iterable[Example]) -> ExampleShard:
    """Build a shard in memory."""
    chunks: dict[str, list[NDArray[Any]]] = {name: [] for name in ARRAYS}
    label_sets: list[LabelSet] = []
    tables: LabelTables = {}
    for example in examples:
        for name, values in _flatten(example, label_sets, tables):
            chunks.setdefault(name, []).append(values)
    arrays = {name: np.concatenate(parts or [np.empty(0, ARRAYS[name])]) for name, parts in chunks.items()}
    return ExampleShard(arrays, label_sets)


def write_shard(folder: Path, examples: Iterable[Example]) -> ExampleShard:
    """Write examples to `folder` atomically, one at a time, and open it."""
    label_sets: list[LabelSet] = []
    tables: LabelTables = {}
    with atomic_directory(folder) as directory, ExitStack() as stack:

        def create(name: str) -> IO[bytes]:
            return stack.enter_context((directory / name).open("wb"))

        files = {name: create(name) for name in ARRAYS}
        for example in examples:
            for name, values in _flatten(example, label_sets, tables):
                if name not in files:
                    files[name] = create(name)
                files[name].write(values.tobytes())
        (directory / LABELS_FILE).write_text(json.dumps(label_sets))
    return open_shard(folder)


def open_shard(folder: Path) -> ExampleShard:
    """Open a shard on disk; its arrays are memory-mapped."""
    label_sets: list[LabelSet] = [
        tuple(LabelSpec(level, name, dtype, tuple(shape)) for level, name, dtype, shape in labels)
        for labels in json.loads((folder / LABELS_FILE).read_text())
    ]
    arrays = {name: _map_file(folder / name, np.dtype(dtype)) for name, dtype in ARRAYS.items()}
    for spec in {spec for labels in label_sets for spec in labels}:
        array = spec.table if spec.has_table else spec.array
        arrays[array] = _map_file(folder / array, np.dtype(spec.dtype)).reshape(-1, *spec.shape)
        if spec.has_table:
            arrays[spec.array] = _map_file(folder / spec.array, np.dtype(np.int32))
    return ExampleShard(arrays, label_sets, folder)


def _map_file(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    # An empty file cannot be mapped.
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)


def _flatten(example: Example, label_sets: list[LabelSet], tables: LabelTables) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the values of an example by array; new sets and rows of labels are added to `label_sets` and `tables`."""
    assert example.kl_example is None, "KL examples are built from neighbours when they are needed"
    assert not example.shares_first_segment, "sampled replies are not stored"
    encoder_ids = np.empty(0, np.int32) if example.encoder_ids is None else example.encoder_ids
    yield "ids", example.ids.astype(np.int32, copy=False)
    yield "targets", example.targets.astype(np.int32, copy=False)
    if example.weights is not None:
        yield "weights", example.weights.astype(np.float32, copy=False)
    yield "encoder_ids", encoder_ids.astype(np.int32, copy=False)
    yield "sizes", np.array([example.size], np.int32)
    yield "encoder_sizes", np.array([len(encoder_ids)], np.int32)
    yield "weighted", np.array([example.weights is not None])
    yield "units", np.array([example.units], np.float32)
    yield "segment_counts", np.array([len(example.segment_lengths)], np.int32)
    yield "segment_sizes", np.array(example.segment_lengths, np.int32)
    labels = [*_labels(example, "token"), *_labels(example, "segment")]
    label_set = tuple(spec for spec, _ in labels)
    if label_set not in label_sets:
        label_sets.append(label_set)
    yield "label_sets", np.array([label_sets.index(label_set)], np.int32)
    for spec, values in labels:
        if spec.has_table:
            numbers, new_rows = _number_rows(values, tables.setdefault(spec.array, {}))
            yield spec.array, numbers
            yield spec.table, new_rows
        else:
            yield spec.array, values


def _number_rows(values: NDArray[Any], table: dict[bytes, int]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """The number of every row in the table, and the rows that are new to it."""
    numbers = np.empty(len(values), np.int32)
    new_indices = []
    for index, row in enumerate(np.ascontiguousarray(values)):
        key = row.tobytes()
        if key not in table:
            table[key] = len(table)
            new_indices.append(index)
        numbers[index] = table[key]
    return numbers, values[new_indices]


def _labels(example: Example, level: Literal["token", "segment"]) -> Iterator[tuple[LabelSpec, NDArray[Any]]]:
    labels, rows = (
        (example.token_labels, example.size) if level == "token" else (example.segment_labels, example.num_segments)
    )
    for name, values in sorted(labels.items()):
        assert len(values) == rows, f"the label '{name}' has {len(values)} values instead of {rows}"
        yield LabelSpec(level, name, values.dtype.str, values.shape[1:]), values
