"""Optimisers: AdamW everywhere, or Muon for the matrices inside the layers."""

from typing import Literal

import torch
from torch import nn

from turnwise.models.transformers_model import block_matrices
from turnwise.training.optim.muon import Muon

OptimizerName = Literal["adamw", "muon"]


def build_optimizers(
    module: nn.Module, *, name: OptimizerName, rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Optimisers over all parameters of `module` that learn.

    AdamW (Loshchilov & Hutter 2019) decays matrices only. With "muon" (Jordan et al. 2024) the layers' matrices are
    moved along orthogonalised momentum and the rest by AdamW; one peak rate serves both.
    """
    inner = [p for p in block_matrices(module) if p.requires_grad] if name == "muon" else []
    chosen = {id(p) for p in inner}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in chosen]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, betas=(0.9, 0.95), fused=True)
    ]
    if inner:
        optimizers.append(Muon(inner, rate, weight_decay=weight_decay))
    return optimizers


def set_learning_rate(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """Give every parameter group this learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
