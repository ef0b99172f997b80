"""Batches: examples collated into padded tensors.

Shapes: B rows, T tokens per row, S encoder tokens, P packed segments (sequences that do not attend to each other).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turnwise.training.examples.example import IGNORED, Example


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of examples as tensors.

    Attributes:
        ids_BT: input token ids, padded.
        targets_BT: target token ids or `IGNORED`.
        segment_ids_BT: segment of each token, counted from 1 over the batch; 0 is padding.
        positions_BT: position of each token in its sequence (`models/packed_segments.py`).
        units: sum of the examples' units.
        weights_BT: loss weights; None if all are 1.
        token_labels: labels of tokens, `(B, T, …)` each; padding is `IGNORED` for class ids and 0 for other values.
        segment_labels: labels of segments, `(P, …)` each.
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
    token_labels: Mapping[str, Tensor] = field(default_factory=dict)
    segment_labels: Mapping[str, Tensor] = field(default_factory=dict)
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
            if isinstance(value, Mapping):
                return {name: move(tensor) for name, tensor in value.items()}
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
            position = 0
            for size in example.segment_lengths or (example.size,):
                segment += 1
                segments[r, start : start + size] = segment
                positions[r, start : start + size] = np.arange(position, position + size)
                start += size
                if example.shares_first_segment and position == 0:
                    position = size
    encoder_ids, encoder_mask = _collate_encoder_ids(examples, pad_id)
    return Batch(
        ids_BT=torch.from_numpy(ids),
        targets_BT=torch.from_numpy(targets),
        segment_ids_BT=torch.from_numpy(segments),
        positions_BT=torch.from_numpy(positions),
        units=sum(example.units for example in examples),
        weights_BT=None if weights is None else torch.from_numpy(weights),
        token_labels={name: _collate_token_labels(rows, name, shape) for name in _token_label_names(examples)},
        segment_labels={
            name: torch.from_numpy(np.concatenate([_typed(example.segment_labels[name]) for example in examples]))
            for name in examples[0].segment_labels
        },
        encoder_ids_BS=encoder_ids,
        encoder_mask_BS=encoder_mask,
        ref_logprobs_P=_float_tensor(p for e in examples for p in e.ref_logprobs[: e.num_segments]),
        kl_example=_collate_kl_examples(rows, pad_id),
    )


def _typed(labels: NDArray[Any]) -> NDArray[Any]:
    """Class ids as int64, other values as float32."""
    is_class_id = np.issubdtype(labels.dtype, np.integer)
    return labels.astype(np.int64 if is_class_id else np.float32, copy=False)


def _token_label_names(examples: Sequence[Example]) -> list[str]:
    """Names of the token labels of all examples, in order; an example may lack some."""
    return list(dict.fromkeys(name for example in examples for name in example.token_labels))


def _collate_token_labels(rows: Sequence[Sequence[Example]], name: str, shape: tuple[int, int]) -> Tensor:
    """Pad the token labels called `name`, `(B, T, …)`; an example without them counts as padding."""
    first = _typed(next(e.token_labels[name] for row in rows for e in row if name in e.token_labels))
    padding = IGNORED if first.dtype == np.int64 else 0
    labels = np.full((*shape, *first.shape[1:]), padding, dtype=first.dtype)
    for r, row in enumerate(rows):
        start = 0
        for example in row:
            if name in example.token_labels:
                labels[r, start : start + example.size] = _typed(example.token_labels[name])
            start += example.size
    return torch.from_numpy(labels)


def _float_tensor(values: Iterable[float]) -> Tensor | None:
    """The values as float32; None if there are none."""
    tensor = torch.tensor(list(values), dtype=torch.float32)
    return tensor if len(tensor) else None


def _collate_kl_examples(rows: Sequence[Sequence[Example]], pad_id: int) -> Batch | None:
    kl_rows = [[e.kl_example for e in row if e.kl_example is not None] for row in rows]
    if not any(kl_rows):
        return None
    # An example stores the reference log-probability of its KL example after those of its own segments.
    ref_logprobs = (p for row in rows for e in row for p in e.ref_logprobs[e.num_segments :])
    batch = collate([row for row in kl_rows if row], pad_id=pad_id)
    return replace(batch, ref_logprobs_P=_float_tensor(ref_logprobs))


def _collate_encoder_ids(examples: Sequence[Example], pad_id: int) -> tuple[Tensor | None, Tensor | None]:
    """Pad the encoder inputs, one example per row: ids and mask, `(B, S)`."""
    inputs = [example.encoder_ids for example in examples if example.encoder_ids is not None]
    if not inputs:
        return None, None
    shape = len(inputs), max(map(len, inputs))
    ids, mask = np.full(shape, pad_id, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, values in enumerate(inputs):
        ids[row, : len(values)], mask[row, : len(values)] = values, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
