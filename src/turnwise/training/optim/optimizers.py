"""Construction of the optimizers: AdamW, or Muon for the matrices of the transformer blocks."""

from typing import Literal

import torch
from torch import nn

from turnwise.models.language_model import block_matrices
from turnwise.training.optim.muon import Muon

OptimizerName = Literal["adamw", "muon"]
LR_FACTOR = "lr_factor"  # key of a parameter group: its learning rate, relative to that of the run


def build_optimizers(
    module: nn.Module,
    *,
    name: OptimizerName,
    learning_rate: float,
    weight_decay: float,
    head_lr_factor: float = 1.0,
) -> list[torch.optim.Optimizer]:
    """Create optimizers for all trainable parameters.

    AdamW (Loshchilov & Hutter 2019) applies weight decay to matrices only. With "muon" (Jordan et al. 2024), Muon
    updates the matrices of the transformer blocks and AdamW the rest, both with the same learning rate.

    Args:
        module: model to train.
        name: "adamw" or "muon".
        learning_rate: initial learning rate.
        weight_decay: decoupled weight decay of matrices.
        head_lr_factor: learning rate of a classification head, relative to that of all other weights.
    """
    muon = [p for p in block_matrices(module) if p.requires_grad] if name == "muon" else []
    muon_ids = {id(p) for p in muon}
    adamw = [p for p in module.parameters() if p.requires_grad and id(p) not in muon_ids]
    # One group for all weights unless they differ: checkpoints store the optimizer's state by position.
    head = module["head"] if head_lr_factor != 1 and isinstance(module, nn.ModuleDict) else None
    head_ids = set() if head is None else {id(p) for p in head.parameters()}
    groups = [
        {
            "params": [p for p in adamw if (p.dim() >= 2) == is_matrix and (id(p) in head_ids) == is_head],
            "weight_decay": weight_decay if is_matrix else 0.0,
            LR_FACTOR: head_lr_factor if is_head else 1.0,
        }
        for is_head in (False, True)
        for is_matrix in (True, False)
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
    """Set the learning rate of all parameter groups, each with its factor."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get(LR_FACTOR, 1.0)
