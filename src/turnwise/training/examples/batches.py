"""Examples (token ids and targets) and their collation into padded batches.

Shapes: B rows, T tokens per row, S encoder tokens, P packed segments (sequences that do not attend to each other).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

IGNORED = -100  # target without loss; PyTorch's default `ignore_index`


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: a sequence, or several segments that belong together (a preference pair).

    Attributes:
        ids: input token ids, `(T,)` int32.
        targets: token id to predict at each position, or `IGNORED`, `(T,)` int32.
        weights: loss weight of each target, `(T,)` float32; None if all are 1.
        units: contribution to the loss denominator, such as the number of replies or pairs.
        segment_lengths: token count of each segment; () for a single segment.
        labels: one number per segment, for objectives that use labels.
        source: encoder token ids, `(S,)` int32.
        kl_example: example for the KL estimate (KTO); not trained on.
        ref_logprobs: reference log-probability of each segment's targets, then of `kl_example`'s.
    """

    ids: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32] | None = None
    units: float = 1
    segment_lengths: tuple[int, ...] = ()
    labels: tuple[float, ...] = ()
    source: NDArray[np.int32] | None = None
    kl_example: "Example | None" = None
    ref_logprobs: tuple[float, ...] = ()

    @classmethod
    def causal(cls, ids: ArrayLike, mask: ArrayLike, units: float = 1, weights: ArrayLike | None = None) -> "Example":
        """Build a next-token example.

        Args:
            ids: token ids.
            mask: True for each token to predict; the first token is never predicted.
            units: contribution to the loss denominator.
            weights: loss weight of each token; None: all 1.
        """
        inputs = np.asarray(ids, dtype=np.int32)
        targets = np.full(len(inputs), IGNORED, dtype=np.int32)
        targets[:-1] = np.where(np.asarray(mask, dtype=bool)[1:], inputs[1:], IGNORED)
        shifted_weights = None
        if weights is not None:
            shifted_weights = np.ones(len(inputs), dtype=np.float32)
            shifted_weights[:-1] = np.asarray(weights)[1:]
        return cls(inputs, targets, shifted_weights, units)

    @property
    def target_mask(self) -> NDArray[np.bool_]:
        """True where there is a target, `(T,)`."""
        mask: NDArray[np.bool_] = self.targets != IGNORED
        return mask

    @property
    def size(self) -> int:
        """Number of input tokens."""
        return len(self.ids)

    def split_windows(self, length: int) -> Iterator["Example"]:
        """Split a causal example into windows of at most `length` tokens; windows without a target are dropped."""
        if len(self.ids) <= length:
            if self.target_mask.any():
                yield self
            return
        assert not self.segment_lengths, "examples of several segments are truncated before they are joined"
        for start in range(0, len(self.ids), length):
            window = slice(start, start + length)
            # The last target of a window is the first token of the next one, so no token loses its prediction.
            mask = self.target_mask[window]
            if mask.any():
                weights = None if self.weights is None else self.weights[window]
                # A reply that crosses a border counts as a unit in both windows: count runs of targets.
                run_starts = mask & ~np.append(False, mask[:-1])
                units = run_starts.sum() if weights is None else weights[run_starts].sum()
                yield Example(self.ids[window], self.targets[window], weights, float(units))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of examples as tensors.

    Attributes:
        ids_BT: input token ids, padded.
        targets_BT: target token ids or `IGNORED`.
        segment_ids_BT: segment of each token, counted from 1 over the batch; 0 is padding.
        positions_BT: position of each token within its segment.
        units: sum of the examples' units.
        weights_BT: loss weights; None if all are 1.
        labels_P: labels by segment; None without labels.
        encoder_ids_BS: encoder token ids, padded; None for decoder-only models.
        encoder_mask_BS: 1 for encoder tokens, 0 for padding.
        ref_logprobs_P: reference log-probabilities by segment; None before they are computed.
        kl_example: the examples' KL examples as a batch; None without any.
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
    def target_weight(self) -> float:
        """Sum of the target weights; the number of targets if unweighted."""
        mask_BT = self.targets_BT != IGNORED
        return int(mask_BT.sum()) if self.weights_BT is None else float(self.weights_BT[mask_BT].sum())

    @property
    def num_tokens(self) -> int:
        """Tokens without padding, including encoder tokens and KL examples."""
        encoder = 0 if self.encoder_mask_BS is None else int(self.encoder_mask_BS.sum())
        kl = 0 if self.kl_example is None else self.kl_example.num_tokens
        return int((self.segment_ids_BT > 0).sum()) + encoder + kl

    @property
    def num_positions(self) -> int:
        """Tokens including padding."""
        return self.ids_BT.numel() + (0 if self.encoder_ids_BS is None else self.encoder_ids_BS.numel())

    def to(self, device: torch.device) -> "Batch":
        """Copy all tensors to `device`."""

        def move(value: Any) -> Any:
            if isinstance(value, Batch):
                return value.to(device)
            return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value

        return Batch(**{field.name: move(getattr(self, field.name)) for field in fields(self)})


def collate(rows: Sequence[Sequence[Example]], *, pad_id: int, length: int | None = None) -> Batch:
    """Build a batch from rows of examples, padded to the longest row or to `length` tokens."""
    length = length or max(sum(example.size for example in row) for row in rows)
    examples = [example for row in rows for example in row]
    shape = len(rows), length
    ids, targets = np.full(shape, pad_id, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
    segments, positions = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int64)
    weights = np.ones(shape, dtype=np.float32) if any(e.weights is not None for e in examples) else None
    segment = 0
    for r, row in enumerate(rows):
        start = 0
        for example in row:
            span = slice(start, start + example.size)
            ids[r, span], targets[r, span] = example.ids, example.targets
            if weights is not None and example.weights is not None:
                weights[r, span] = example.weights
            for size in example.segment_lengths or (example.size,):
                segment += 1
                segments[r, start : start + size] = segment
                positions[r, start : start + size] = np.arange(size)
                start += size
    encoder_ids, encoder_mask = _collate_sources(examples, pad_id)
    return Batch(
        ids_BT=torch.from_numpy(ids),
        targets_BT=torch.from_numpy(targets),
        segment_ids_BT=torch.from_numpy(segments),
        positions_BT=torch.from_numpy(positions),
        units=sum(example.units for example in examples),
        weights_BT=None if weights is None else torch.from_numpy(weights),
        labels_P=_float_tensor(label for example in examples for label in example.labels),
        encoder_ids_BS=encoder_ids,
        encoder_mask_BS=encoder_mask,
        ref_logprobs_P=_float_tensor(p for e in examples for p in e.ref_logprobs[: len(e.segment_lengths) or 1]),
        kl_example=_collate_kl_examples(rows, pad_id),
    )


def _float_tensor(values: Iterable[float]) -> Tensor | None:
    """The values as float32; None if there are none."""
    tensor = torch.tensor(list(values), dtype=torch.float32)
    return tensor if len(tensor) else None


def _collate_kl_examples(rows: Sequence[Sequence[Example]], pad_id: int) -> Batch | None:
    kl_rows = [[e.kl_example for e in row if e.kl_example is not None] for row in rows]
    if not any(kl_rows):
        return None
    # An example stores the reference log-probability of its KL example after those of its own segments.
    ref_logprobs = (p for row in rows for e in row for p in e.ref_logprobs[len(e.segment_lengths) or 1 :])
    batch = collate([row for row in kl_rows if row], pad_id=pad_id)
    return replace(batch, ref_logprobs_P=_float_tensor(ref_logprobs))


def _collate_sources(examples: Sequence[Example], pad_id: int) -> tuple[Tensor | None, Tensor | None]:
    """Pad the encoder inputs, one example per row: ids and mask, `(B, S)`."""
    sources = [example.source for example in examples if example.source is not None]
    if not sources:
        return None, None
    shape = len(sources), max(map(len, sources))
    ids, mask = np.full(shape, pad_id, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, source in enumerate(sources):
        ids[row, : len(source)], mask[row, : len(source)] = source, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
