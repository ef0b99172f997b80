"""Examples (ids and what counts in the loss) into packed batches. Shapes: B rows, T tokens in a row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

IGNORED = -100  # a target with this value has no loss; negative, so it is no token (torch's own default)


@dataclass(frozen=True, slots=True)
class Example:
    """One training sequence.

    Attributes:
        ids: token ids, `(T,)` int32.
        counts: for each id whether predicting it counts, `(T,)` bool; the first id is never predicted.
        replies: how many replies it holds (the N of the fine-tuning loss).
    """

    ids: np.ndarray
    counts: np.ndarray
    replies: int = 1

    def windows(self, length: int) -> Iterator["Example"]:
        """The example in pieces of at most `length` ids; pieces in which nothing counts are left out."""
        if len(self.ids) <= length:
            if self.counts[1:].any():
                yield self
            return
        for start in range(0, len(self.ids), length):
            counts = self.counts[start : start + length]
            predicted = counts[1:]  # the first id of a piece has nothing before it
            if predicted.any():
                # A border inside a reply makes two of it: the runs are what is really there.
                replies = int(predicted[0]) + int((~predicted[:-1] & predicted[1:]).sum())
                yield Example(self.ids[start : start + length], counts, replies)


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows.

    Attributes:
        ids_BT: inputs.
        targets_BT: the next id where it counts, else `IGNORED`.
        segments_BT: which dialogue of its row a token belongs to; 0 is padding.
        positions_BT: place within the dialogue.
        replies: replies in the batch.
    """

    ids_BT: Tensor
    targets_BT: Tensor
    segments_BT: Tensor
    positions_BT: Tensor
    replies: int

    @property
    def counted(self) -> int:
        """Targets with a loss."""
        return int((self.targets_BT != IGNORED).sum())

    @property
    def useful(self) -> int:
        """Tokens that are not padding."""
        return int((self.segments_BT > 0).sum())

    def mask_B1TT(self) -> Tensor:
        """True where a token may look: its own dialogue, up to itself. Packed dialogues do not see each other."""
        same = self.segments_BT.unsqueeze(2) == self.segments_BT.unsqueeze(1)
        return same.tril().unsqueeze(1)

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return Batch(
            self.ids_BT.to(device, non_blocking=True),
            self.targets_BT.to(device, non_blocking=True),
            self.segments_BT.to(device, non_blocking=True),
            self.positions_BT.to(device, non_blocking=True),
            self.replies,
        )


def collate(rows: Sequence[Sequence[Example]], *, pad_id: int, length: int | None = None) -> Batch:
    """Lay rows of examples out as one batch, padded to the longest row or to `length`."""
    length = length or max(sum(len(example.ids) for example in row) for row in rows)
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    targets = np.full((len(rows), length), IGNORED, dtype=np.int64)
    segments = np.zeros((len(rows), length), dtype=np.int32)
    positions = np.zeros((len(rows), length), dtype=np.int64)
    for r, row in enumerate(rows):
        at = 0
        for s, example in enumerate(row, 1):
            n = len(example.ids)
            ids[r, at : at + n] = example.ids
            targets[r, at : at + n - 1] = np.where(example.counts[1:], example.ids[1:], IGNORED)
            segments[r, at : at + n] = s
            positions[r, at : at + n] = np.arange(n)
            at += n
    ids_BT, targets_BT, segments_BT, positions_BT = map(torch.from_numpy, (ids, targets, segments, positions))
    replies = sum(example.replies for row in rows for example in row)
    return Batch(ids_BT, targets_BT, segments_BT, positions_BT, replies)
