"""Examples (ids, and what should come out where) into batches.

Shapes: B rows, T tokens in a row, S tokens of a source, P parts (sequences that see only themselves).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

IGNORED = -100  # a target with this value has no loss; negative, so it is no token (torch's own default)


@dataclass(frozen=True, slots=True)
class Example:
    """What is learned from at once: one sequence, or several that belong together.

    Attributes:
        ids: token ids that go in, `(T,)` int32.
        targets: for each the id that should come out there, or `IGNORED`, `(T,)` int32.
        weights: how much each target counts, `(T,)` float32; None where all count the same.
        units: what it adds to the number that the loss is divided by: replies, say, or pairs.
        parts: lengths of its sequences, which do not see each other; () where it is one.
        labels: a number for each part, if the objective needs one.
        source: ids that an encoder reads, `(S,)` int32.
        contrast: another example that this one is compared with, and that nothing is learned from.
        base: the log-probability of each part's targets before training, and of those of the contrast.
    """

    ids: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32] | None = None
    units: float = 1
    parts: tuple[int, ...] = ()
    labels: tuple[float, ...] = ()
    source: NDArray[np.int32] | None = None
    kl_example: "Example | None" = None
    ref_logprobs: tuple[float, ...] = ()

    @classmethod
    def causal(cls, ids: ArrayLike, counts: ArrayLike, units: float = 1, weights: ArrayLike | None = None) -> "Example":
        """A sequence whose every next id is predicted where it `counts`; the first id never is."""
        inputs = np.asarray(ids, dtype=np.int32)
        targets = np.full(len(inputs), IGNORED, dtype=np.int32)
        targets[:-1] = np.where(np.asarray(counts, dtype=bool)[1:], inputs[1:], IGNORED)
        shifted = None
        if weights is not None:
            shifted = np.ones(len(inputs), dtype=np.float32)
            shifted[:-1] = np.asarray(weights)[1:]
        return cls(inputs, targets, shifted, units)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Where there is a target, `(T,)`."""
        found: NDArray[np.bool_] = self.targets != IGNORED
        return found

    @property
    def size(self) -> int:
        """Tokens that it puts into a row."""
        return len(self.ids)

    def split_windows(self, length: int) -> Iterator["Example"]:
        """A causal example in pieces of at most `length` ids; pieces in which nothing counts are left out."""
        if len(self.ids) <= length:
            if self.counted.any():
                yield self
            return
        assert not self.parts, "several sequences are cut by who joins them"
        for start in range(0, len(self.ids), length):
            piece = slice(start, start + length)
            # The last target of a piece is the first id of the next one, which it may well predict.
            counted = self.counted[piece]
            if counted.any():
                weights = None if self.weights is None else self.weights[piece]
                # A border inside a reply makes two of it: the runs are what is really there.
                begins = counted & ~np.append(False, counted[:-1])
                units = begins.sum() if weights is None else weights[begins].sum()
                yield Example(self.ids[piece], self.targets[piece], weights, float(units))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of examples.

    Attributes:
        ids_BT: inputs.
        targets_BT: what should come out, else `IGNORED`.
        segments_BT: which part of the batch a token belongs to, from 1 on; 0 is padding.
        positions_BT: place within the part.
        units: of all examples together.
        weights_BT: how much each target counts; None where all count the same.
        labels_P: the examples' labels, part by part; None without.
        sources_BS: what the encoder reads, padded; None without.
        source_mask_BS: 1 where a source has a token.
        base_P: what the examples know of the model before training, part by part; None without.
        contrast: the examples' contrasts, in the same rows; None without.
    """

    ids_BT: Tensor
    targets_BT: Tensor
    segment_ids_BT: Tensor
    positions_BT: Tensor
    units: float
    weights_BT: Tensor | None = None
    labels_P: Tensor | None = None
    encoder_ids_BS: Tensor | None = None
    encoder_mask_BS: Tensor | None = None
    ref_logprobs_P: Tensor | None = None
    kl_example: "Batch | None" = None

    @property
    def counted(self) -> float:
        """Targets with a loss, as far as they count."""
        logits_mask_BT = self.targets_BT != IGNORED
        return int(logits_mask_BT.sum()) if self.weights_BT is None else float(self.weights_BT[logits_mask_BT].sum())

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding, those of sources and contrasts included."""
        read = 0 if self.encoder_mask_BS is None else int(self.encoder_mask_BS.sum())
        compared = 0 if self.kl_example is None else self.kl_example.num_tokens
        return int((self.segment_ids_BT > 0).sum()) + read + compared

    @property
    def places(self) -> int:
        """Tokens, padding included."""
        return self.ids_BT.numel() + (0 if self.encoder_ids_BS is None else self.encoder_ids_BS.numel())

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""

        def moved(value: Any) -> Any:
            if isinstance(value, Batch):
                return value.to(device)
            return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value

        return Batch(**{field.name: moved(getattr(self, field.name)) for field in fields(self)})


def collate(rows: Sequence[Sequence[Example]], *, pad_id: int, length: int | None = None) -> Batch:
    """Lay rows of examples out as one batch, padded to the longest row or to `length`."""
    length = length or max(sum(example.size for example in row) for row in rows)
    examples = [example for row in rows for example in row]
    shape = len(rows), length
    ids, targets = np.full(shape, pad_id, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
    segments, positions = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int64)
    weights = np.ones(shape, dtype=np.float32) if any(e.weights is not None for e in examples) else None
    part = 0
    for r, row in enumerate(rows):
        at = 0
        for example in row:
            here = slice(at, at + example.size)
            ids[r, here], targets[r, here] = example.ids, example.targets
            if weights is not None and example.weights is not None:
                weights[r, here] = example.weights
            for size in example.parts or (example.size,):
                part += 1
                segments[r, at : at + size], positions[r, at : at + size] = part, np.arange(size)
                at += size
    contrasts = [[e.kl_example for e in row if e.kl_example is not None] for row in rows]
    sources, source_mask = _sources(examples, pad_id)
    return Batch(
        ids_BT=torch.from_numpy(ids),
        targets_BT=torch.from_numpy(targets),
        segment_ids_BT=torch.from_numpy(segments),
        positions_BT=torch.from_numpy(positions),
        units=sum(example.units for example in examples),
        weights_BT=None if weights is None else torch.from_numpy(weights),
        labels_P=_numbers(label for example in examples for label in example.labels),
        encoder_ids_BS=sources,
        encoder_mask_BS=source_mask,
        ref_logprobs_P=_numbers(known for e in examples for known in e.ref_logprobs[: len(e.parts) or 1]),
        kl_example=_contrast(examples, contrasts, pad_id),
    )


def _numbers(values: Iterable[float]) -> Tensor | None:
    found = torch.tensor(list(values), dtype=torch.float32)
    return found if len(found) else None


def _contrast(examples: Sequence[Example], rows: Sequence[Sequence[Example]], pad_id: int) -> Batch | None:
    if not any(rows):
        return None
    return replace(
        collate([row for row in rows if row], pad_id=pad_id),
        ref_logprobs_P=_numbers(known for e in examples for known in e.ref_logprobs[len(e.parts) or 1 :]),
    )


def _sources(examples: Sequence[Example], pad_id: int) -> tuple[Tensor | None, Tensor | None]:
    """The sources of examples that stand in rows of their own."""
    found = [example.source for example in examples if example.source is not None]
    if not found:
        return None, None
    shape = len(found), max(map(len, found))
    ids, mask = np.full(shape, pad_id, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, source in enumerate(found):
        ids[row, : len(source)], mask[row, : len(source)] = source, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
