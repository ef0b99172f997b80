"""Datasets of tokenized examples: which examples an epoch uses, how they are packed into rows, and batches of rows."""

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
from turnwise.training.examples.batches import Batch, collate
from turnwise.training.examples.dialogue_windows import TruncationReport
from turnwise.training.examples.example import Example
from turnwise.training.examples.packing import bucket_by_length, pack_sequences
from turnwise.training.examples.shards import ExampleShard
from turnwise.training.hooks import TrainerHook
from turnwise.training.log_probs import autocast, segment_log_probs
from turnwise.training.objective import ExampleContext, Objective

VALIDATION_EPOCH = 0  # the epoch whose augmentations validation uses


@dataclass(frozen=True, slots=True)
class PackedRow:
    """The indices of the examples in one row of an epoch."""

    epoch: int
    examples: Sequence[int]


@dataclass(frozen=True)
class Dataset:
    """The examples of one split.

    Attributes:
        shards: one per source.
        objective: augments examples and pairs them with KL examples.
        context: the context that the examples were built with.
        supports_packing: True if a row may hold several examples.
        bucket_size: rows per micro-batch; without packing, rows of a bucket have similar lengths.
        seed: seed of order and augmentation.
        repeats: passes over each shard per epoch, () means 1; 0.5 shows half of a shard per epoch, alternating halves.
    """

    shards: Sequence[ExampleShard]
    objective: Objective
    context: ExampleContext
    supports_packing: bool = True
    bucket_size: int = 8
    seed: int = 0
    repeats: Sequence[float] = ()

    def __len__(self) -> int:
        return self._starts[-1]

    @cached_property
    def _starts(self) -> list[int]:
        """Index of each shard's first example, and the number of examples."""
        return [0, *accumulate(len(shard) for shard in self.shards)]

    @cached_property
    def _lengths(self) -> NDArray[np.int32]:
        """Token count of each example."""
        return np.concatenate([np.empty(0, np.int32), *(shard.lengths for shard in self.shards)])

    @property
    def tokens(self) -> int:
        """Tokens of all examples, including encoder tokens."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def epoch_tokens(self) -> int:
        """Tokens per epoch."""
        repeats = self.repeats or [1.0] * len(self.shards)
        return round(sum(shard.tokens * times for shard, times in zip(self.shards, repeats, strict=True)))

    def _locate(self, index: int) -> tuple[ExampleShard, int]:
        """Return the shard of an example and the example's index in it."""
        shard = bisect_right(self._starts, index) - 1
        return self.shards[shard], index - self._starts[shard]

    def example(self, index: int, epoch: int = VALIDATION_EPOCH) -> Example:
        """Return an example with the augmentation of `epoch`."""
        shard, offset = self._locate(index)
        rng = np.random.default_rng((self.seed, epoch, index))
        example = self.objective.augment(shard[offset], rng, self.context)
        if not self.objective.NEEDS_REFERENCE:
            return example
        previous, offset = self._locate((index or len(self)) - 1)
        kl_example = self.objective.kl_example(example, previous[offset], self.context)
        return example if kl_example is None else replace(example, kl_example=kl_example)

    def epoch_indices(self, epoch: int) -> NDArray[np.int64]:
        """Return the indices of the examples that an epoch uses, unordered."""
        indices = []
        for number, shard in enumerate(self.shards):
            size, times = len(shard), self.repeats[number] if self.repeats else 1.0
            first, last = int(epoch * times * size), int((epoch + 1) * times * size)
            if times == int(times):
                offsets = np.tile(np.arange(size), int(times))
            else:
                # Cut the epoch's part out of an endless sequence of shuffled passes; the next epoch continues it.
                passes = range(first // size, (last + size - 1) // size) if size else ()
                orders = [np.random.default_rng((self.seed, number, turn)).permutation(size) for turn in passes]
                offsets = np.concatenate([np.empty(0, np.int64), *orders])[first - size * (first // max(1, size)) :]
                offsets = offsets[: last - first]
            indices.append(offsets + self._starts[number])
        return np.concatenate([np.empty(0, np.int64), *indices])

    def rows(self, epoch: int = VALIDATION_EPOCH) -> list[PackedRow]:
        """Return the rows of an epoch in order; they depend only on the data, the seed and the epoch."""
        indices = self.epoch_indices(epoch)
        lengths = self._lengths[indices].tolist()
        seed = self.seed * 1_000_003 + epoch  # a different order in every epoch, the same in every run
        packed = (
            pack_sequences(lengths, self.context.length, seed=seed)
            if self.supports_packing
            else bucket_by_length(lengths, self.bucket_size, seed=seed)
        )
        return [PackedRow(epoch, indices[row].tolist()) for row in packed]

    def stream(self, skip: int = 0) -> Iterator[PackedRow]:
        """Yield rows without end, epoch after epoch; a resumed run skips the rows it has trained on."""
        for epoch in count():
            rows = self.rows(epoch)
            yield from rows[skip:]
            skip = max(0, skip - len(rows))

    def batch(self, rows: Sequence[PackedRow]) -> Batch:
        """Collate rows into a batch."""
        examples = [[self.example(index, row.epoch) for index in row.examples] for row in rows]
        return collate(examples, pad_id=self.context.tokenizer.pad_token_id)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all examples once in a fixed order, `size` rows per batch (validation)."""
        for rows in _chunks(self.rows(), size):
            yield self.batch(rows)

    @cached_property
    def packing_efficiency(self) -> float:
        """Packing efficiency: share of an epoch's batch positions that are not padding."""
        sizes = [int(sum(self._lengths[index] for index in row.examples)) for row in self.rows()]
        groups = [sizes[start : start + self.bucket_size] for start in range(0, len(sizes), self.bucket_size)]
        return sum(sizes) / max(1, sum(max(group) * len(group) for group in groups))

    def compute_ref_logprobs(
        self,
        model: LanguageModel,
        device: torch.device,
        dtype: torch.dtype,
        size: int,
        hooks: Sequence[TrainerHook] = (),
    ) -> None:
        """Store reference log-probabilities with every example, if the objective needs them and none are stored.

        Args:
            model: the reference model, that is, the model before the first step.
            device: device of the model.
            dtype: compute type.
            size: rows per batch.
            hooks: receive the progress.
        """
        if not self.objective.NEEDS_REFERENCE or all(shard.ref_logprobs is not None for shard in self.shards):
            return
        model.module.eval()
        log_probs: list[list[float]] = [[] for _ in range(len(self))]
        num_done = 0
        with torch.no_grad(), autocast(device, dtype):
            for rows in _chunks(replace(self, repeats=()).rows(), size):  # every example once
                indices = [index for row in rows for index in row.examples]
                batch = self.batch(rows).to(device)
                kl = [] if batch.kl_example is None else segment_log_probs(model, batch.kl_example).tolist()
                segments = iter(segment_log_probs(model, batch).tolist())
                for number, index in enumerate(indices):
                    num_segments = max(1, len(self.example(index).segment_lengths))
                    log_probs[index] = [next(segments) for _ in range(num_segments)] + kl[number : number + 1]
                num_done += len(indices)
                for hook in hooks:
                    hook.on_reference(num_done, len(self))
        reshard(model.module)
        for number, shard in enumerate(self.shards):
            start, end = self._starts[number : number + 2]
            shard.save_ref_logprobs(np.array(log_probs[start:end], np.float32))


def _chunks(rows: Sequence[PackedRow], size: int) -> Iterator[Sequence[PackedRow]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@dataclass(frozen=True)
class DatasetSplits:
    """The splits of a run; all but `train` may be empty.

    Attributes:
        train: training data.
        valid: validation data, for early stopping.
        test: measured before and after training.
        retention: data of earlier tasks; its loss should not rise.
        sample_dialogues: held-out dialogues to which the model replies before and after training.
        num_bad_rows: number of bad rows that were skipped.
        num_replayed: number of training examples that are replies of the base model.
        truncation: counts of what did not fit into the sequence length.
    """

    train: Dataset
    valid: Dataset
    test: Dataset
    retention: Dataset
    sample_dialogues: Sequence[Conversation] = ()
    num_bad_rows: int = 0
    num_replayed: int = 0
    truncation: TruncationReport = field(default_factory=TruncationReport)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the training and validation examples."""
        digest = hashlib.blake2b(digest_size=16)
        for split in (self.train, self.valid):
            for shard in split.shards:
                shard.digest(digest)
            digest.update(b"||")
        return digest.hexdigest()
