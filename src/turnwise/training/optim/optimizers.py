"""Construction of the optimizers: AdamW, or Muon for the matrices of the transformer blocks."""

from typing import Literal

import torch
from torch import nn

from turnwise.models.language_model import block_matrices
from turnwise.training.optim.muon import Muon

OptimizerName = Literal["adamw", "muon"]


def build_optimizers(
    module: nn.Module, *, name: OptimizerName, learning_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Create optimizers for all trainable parameters.

    AdamW (Loshchilov & Hutter 2019) applies weight decay to matrices only. With "muon" (Jordan et al. 2024), Muon
    updates the matrices of the transformer blocks and AdamW the rest, both with the same learning rate.

    Args:
        module: model to train.
        name: "adamw" or "muon".
        learning_rate: initial learning rate.
        weight_decay: decoupled weight decay of matrices.
    """
    muon = [p for p in block_matrices(module) if p.requires_grad] if name == "muon" else []
    muon_ids = {id(p) for p in muon}
    adamw = [p for p in module.parameters() if p.requires_grad and id(p) not in muon_ids]
    groups = [
        {"params": [p for p in adamw if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in adamw if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=learning_rate, betas=(0.9, 0.95), fused=True
        )
    ]
    if muon:
        optimizers.append(Muon(muon, learning_rate, weight_decay=weight_decay))
    return optimizers


def set_learning_rate(optimizers: list[torch.optim.Optimizer], learning_rate: float) -> None:
    """Set the learning rate of all parameter groups."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
