"""The examples of a run: which of them an epoch shows, in which rows, and what a batch of rows holds."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, count

import numpy as np
import torch
from numpy.typing import NDArray

from turnwise.core.messages import Conversation
from turnwise.models.language_model import LanguageModel
from turnwise.training.distributed.sharding import reshard
from turnwise.training.examples.batches import Batch, Example, collate
from turnwise.training.examples.dialogue_windows import TruncationReport
from turnwise.training.examples.packing import bucket_by_length, pack_sequences
from turnwise.training.examples.shards import ExampleShard
from turnwise.training.log_probs import autocast, segment_log_probs
from turnwise.training.objective import ExampleContext, Objective

VALIDATION_EPOCH = 0  # the epoch whose variations validation always sees


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Examples, by their numbers, that lie in a row in this epoch."""

    epoch: int
    examples: Sequence[int]


@dataclass(frozen=True)
class Dataset:
    """The examples of one split.

    Attributes:
        shards: one for every source.
        objective: how examples vary and what they are compared with.
        frame: what they were made for.
        packs: whether several lie in a row.
        group: rows that are read at a time.
        seed: of the order, and of what varies.
        repeats: how often an epoch shows each shard's examples; half a time is half of them, the others in the next.
    """

    shards: Sequence[ExampleShard]
    objective: Objective
    frame: ExampleContext
    supports_packing: bool = True
    bucket_size: int = 8
    seed: int = 0
    repeats: Sequence[float] = ()

    def __len__(self) -> int:
        return self._starts[-1]

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(len(shard) for shard in self.shards)]

    @property
    def tokens(self) -> int:
        """Tokens of all examples, those of sources included."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def epoch_tokens(self) -> int:
        """Tokens that an epoch shows."""
        times = self.repeats or [1.0] * len(self.shards)
        return round(sum(shard.tokens * each for shard, each in zip(self.shards, times, strict=True)))

    def _place(self, index: int) -> tuple[ExampleShard, int]:
        shard = bisect_right(self._starts, index) - 1
        return self.shards[shard], index - self._starts[shard]

    def example(self, index: int, epoch: int = VALIDATION_EPOCH) -> Example:
        """An example as this epoch shows it."""
        shard, place = self._place(index)
        example = shard[place]
        varied = self.objective.augment(example, np.random.default_rng((self.seed, epoch, index)), self.frame)
        before, place = self._place((index or len(self)) - 1)
        kl_example = (
            self.objective.kl_example(varied, before[place], self.frame) if self.objective.NEEDS_REFERENCE else None
        )
        return varied if kl_example is None else replace(varied, kl_example=kl_example)

    def epoch_indices(self, epoch: int) -> NDArray[np.int64]:
        """The numbers of the examples that an epoch shows, in no order that means anything."""
        found = []
        for number, shard in enumerate(self.shards):
            size, times = len(shard), self.repeats[number] if self.repeats else 1.0
            first, last = int(epoch * times * size), int((epoch + 1) * times * size)
            if times == int(times):
                within = np.tile(np.arange(size), int(times))
            else:  # a stretch of an endless row of shuffled passes, which the next epoch goes on with
                passes = range(first // size, (last + size - 1) // size) if size else ()
                orders = [np.random.default_rng((self.seed, number, turn)).permutation(size) for turn in passes]
                within = np.concatenate([np.empty(0, np.int64), *orders])[first - size * (first // max(1, size)) :]
                within = within[: last - first]
            found.append(within + self._starts[number])
        return np.concatenate([np.empty(0, np.int64), *found])

    def rows(self, epoch: int = VALIDATION_EPOCH) -> list[PackedRow]:
        """The rows of an epoch, in order; they depend on the seed and the epoch alone."""
        shown = self.epoch_indices(epoch)
        lengths = np.concatenate([np.empty(0, np.int32), *(shard.lengths for shard in self.shards)])[shown].tolist()
        seed = self.seed * 1_000_003 + epoch  # another order for every epoch, the same on every run
        packed = (
            pack_sequences(lengths, self.frame.length, seed=seed)
            if self.supports_packing
            else bucket_by_length(lengths, self.bucket_size, seed=seed)
        )
        return [PackedRow(epoch, shown[row].tolist()) for row in packed]

    def stream(self, skip: int = 0) -> Iterator[PackedRow]:
        """Rows for ever, epoch after epoch; `skip` rows are passed over (resuming)."""
        for epoch in count():
            rows = self.rows(epoch)
            yield from rows[skip:]
            skip = max(0, skip - len(rows))

    def batch(self, rows: Sequence[PackedRow]) -> Batch:
        """Lay these rows out."""
        examples = [[self.example(index, row.epoch) for index in row.examples] for row in rows]
        return collate(examples, pad_id=self.frame.tokenizer.pad_id)

    def batches(self, size: int) -> Iterator[Batch]:
        """All of it once, in a fixed order, `size` rows at a time (validation)."""
        rows = self.rows()
        for start in range(0, len(rows), size):
            yield self.batch(rows[start : start + size])

    @cached_property
    def fill(self) -> float:
        """The share of the places in an epoch's batches that hold a token and no padding."""
        rows = self.rows()
        lengths = np.concatenate([np.empty(0, np.int32), *(shard.lengths for shard in self.shards)])
        sizes = [int(sum(lengths[index] for index in row.examples)) for row in rows]
        groups = [sizes[start : start + self.bucket_size] for start in range(0, len(sizes), self.bucket_size)]
        return sum(sizes) / max(1, sum(max(found) * len(found) for found in groups))

    def compute_ref_logprobs(self, model: LanguageModel, device: torch.device, dtype: torch.dtype, size: int) -> None:
        """Let every example know what the model thinks of it before it is trained, where the objective compares."""
        if not self.objective.NEEDS_REFERENCE or all(shard.ref_logprobs is not None for shard in self.shards):
            return
        model.module.eval()
        known: list[list[float]] = [[] for _ in range(len(self))]
        with torch.no_grad(), autocast(device, dtype):
            for rows in _groups(replace(self, repeats=()).rows(), size):  # every example, once
                order = [index for row in rows for index in row.examples]
                batch = self.batch(rows).to(device)
                contrasts = [] if batch.kl_example is None else segment_log_probs(model, batch.kl_example).tolist()
                parts = iter(segment_log_probs(model, batch).tolist())
                for place, index in enumerate(order):
                    own = [next(parts) for _ in range(max(1, len(self.example(index).parts)))]
                    known[index] = own + contrasts[place : place + 1]
        reshard(model.module)
        for number, shard in enumerate(self.shards):
            shard.save_ref_logprobs(np.array(known[self._starts[number] : self._starts[number + 1]], np.float32))


def _groups(rows: Sequence[PackedRow], size: int) -> Iterator[Sequence[PackedRow]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@dataclass(frozen=True)
class DatasetSplits:
    """The splits; all but `train` may be empty.

    Attributes:
        general: what should not be forgotten.
        samples: a few held-out dialogues to answer before and after.
        skipped: bad rows that were left out.
        rehearsed: examples of `train` that are the base's own answers.
        truncation: what did not fit into rows.
    """

    train: Dataset
    valid: Dataset
    test: Dataset
    general: Dataset
    samples: Sequence[Conversation] = ()
    skipped: int = 0
    rehearsed: int = 0
    truncation: TruncationReport = field(default_factory=TruncationReport)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when what is learned from or validated on does."""
        digest = hashlib.blake2b(digest_size=16)
        for split in (self.train, self.valid):
            for shard in split.shards:
                shard.digest(digest)
            digest.update(b"||")
        return digest.hexdigest()
