"""What a model makes of a batch. Shapes: B rows, T tokens, N targets, P parts, V vocabulary."""

import torch
from torch import Tensor
from torch.nn import functional as F

from turnwise.data.batches import IGNORED, Batch
from turnwise.models.model import Model


def computing(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Arithmetic in this type, within the block."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def target_losses(model: Model, batch: Batch) -> Tensor:
    """Cross-entropy in nats at every target, `(N,)`, row by row, whatever the targets weigh."""
    wanted_BT = batch.targets_BT != IGNORED
    logits_NV = model.logits(
        batch.ids_BT,
        wanted_BT,
        segments_BT=batch.segments_BT,
        positions_BT=batch.positions_BT,
        sources_BS=batch.sources_BS,
        source_mask_BS=batch.source_mask_BS,
    )
    return F.cross_entropy(logits_NV.float(), batch.targets_BT[wanted_BT], reduction="none")


def summed_loss(model: Model, batch: Batch) -> Tensor:
    """Cross-entropy summed over the batch's targets, each as much as it weighs."""
    losses_N = target_losses(model, batch)
    if batch.weights_BT is not None:
        losses_N = losses_N * batch.weights_BT[batch.targets_BT != IGNORED]
    return losses_N.sum()


def part_log_probs(model: Model, batch: Batch) -> Tensor:
    """The log-probability of each part's targets together, `(P,)`: log P(reply | what came before)."""
    wanted_BT = batch.targets_BT != IGNORED
    parts_N = batch.segments_BT[wanted_BT].long() - 1
    losses_N = target_losses(model, batch)
    found_P = losses_N.new_zeros(int(batch.segments_BT.max()))
    return found_P.index_add(0, parts_N, -losses_N)
