"""Cross-entropy of a decoder on known continuations. Shapes: B rows, T tokens, N predicted tokens, V vocabulary."""

import torch
from torch import Tensor
from torch.nn import functional as F

from turnwise.models.decoder import Decoder


def summed_cross_entropy(
    model: Decoder,
    ids_BT: Tensor,
    targets_BT: Tensor,
    *,
    positions_BT: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Cross-entropy in nats, summed over all targets that are not negative.

    Logits are computed only where there is a target: the head is a large part of a small model.
    """
    hidden_BTC = model(ids_BT, positions_BT=positions_BT, mask=mask)
    logits_mask_BT = targets_BT >= 0
    logits_NV = model.logits(hidden_BTC[logits_mask_BT]).float()
    return F.cross_entropy(logits_NV, targets_BT[logits_mask_BT], reduction="sum")


def row_cross_entropy(model: Decoder, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean cross-entropy per non-negative target of every row, `(B,)`; rows are padded on the right."""
    hidden_BTC = model(ids_BT)
    logits_mask_BT = targets_BT >= 0
    losses_BT = torch.zeros(targets_BT.shape, device=ids_BT.device)
    logits_NV = model.logits(hidden_BTC[logits_mask_BT]).float()
    losses_BT[logits_mask_BT] = F.cross_entropy(logits_NV, targets_BT[logits_mask_BT], reduction="none")
    return losses_BT.sum(dim=1) / logits_mask_BT.sum(dim=1).clamp(min=1)
