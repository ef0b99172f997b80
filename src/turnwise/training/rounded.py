"""The type that a run's weights are saved in, and what of the change is lost by rounding to it."""

from pathlib import Path

import torch
from torch import nn

from turnwise.models.checkpoint import DTYPES, published_dtype
from turnwise.training.base import Base
from turnwise.training.recipe import Recipe
from turnwise.training.state import START, load_snapshot, trainable_state


def save_dtype(recipe: Recipe, base: Base) -> torch.dtype:
    """The type of the saved weights: the base's, unless the recipe says another; float32 for new models."""
    wanted = recipe.training.save_dtype
    if wanted != "auto":
        return DTYPES[wanted]
    return published_dtype(base.model.published if base.folder is not None else {})


@torch.no_grad()
def rounded_share(module: nn.Module, work: Path, dtype: torch.dtype) -> float | None:
    """How much of the change since the first step rounding takes, as a share of its length; None for float32.

    Weights of 16 bits have steps, and a change that is smaller than half a step is lost.
    """
    start = load_snapshot(work, module, START) if dtype != torch.float32 else None
    if start is None:
        return None
    lost = change = 0.0
    for name, tensor in trainable_state(module).items():
        lost += float((tensor - tensor.to(dtype).float()).square().sum())
        change += float((tensor - start[name]).square().sum())
    return (lost / change) ** 0.5 if change else None
