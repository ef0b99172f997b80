"""What a model makes of a batch. Shapes: B rows, T tokens, N targets, P parts, V vocabulary."""

import torch
from torch import Tensor

from turnwise.training.examples.batches import IGNORED, Batch
from turnwise.models.language_model import Model
from turnwise.training import chunked_cross_entropy as chunked


def computing(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Arithmetic in this type, within the block."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def target_losses(model: Model, batch: Batch) -> Tensor:
    """Cross-entropy in nats at every target, `(N,)`, row by row, whatever the targets weigh."""
    hidden_NC, targets_N = _read(model, batch)
    return chunked.chunked_cross_entropy(model.score, hidden_NC, targets_N, model.vocab_size)


def cross_entropy_sum(model: Model, batch: Batch) -> Tensor:
    """Cross-entropy summed over the batch's targets, each as much as it weighs."""
    hidden_NC, targets_N = _read(model, batch)
    weights_N = None if batch.weights_BT is None else batch.weights_BT[batch.targets_BT != IGNORED]
    return chunked.chunked_cross_entropy_sum(
        model.score, hidden_NC, targets_N, weights_N, model.vocab_size, model.head_parameters
    )  # fmt: skip


def _read(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the model's head reads at every target, `(N, C)`, and the targets."""
    wanted_BT = batch.targets_BT != IGNORED
    hidden_NC = model.hidden(
        batch.ids_BT,
        wanted_BT,
        segments_BT=batch.segments_BT,
        positions_BT=batch.positions_BT,
        sources_BS=batch.sources_BS,
        source_mask_BS=batch.source_mask_BS,
    )
    return hidden_NC, batch.targets_BT[wanted_BT]


def part_log_probs(model: Model, batch: Batch) -> Tensor:
    """The log-probability of each part's targets together, `(P,)`: log P(reply | what came before)."""
    wanted_BT = batch.targets_BT != IGNORED
    parts_N = batch.segments_BT[wanted_BT].long() - 1
    losses_N = target_losses(model, batch)
    found_P = losses_N.new_zeros(int(batch.segments_BT.max()))
    return found_P.index_add(0, parts_N, -losses_N)
