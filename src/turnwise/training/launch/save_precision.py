"""The dtype of the saved weights, and the error of rounding to it."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from turnwise.core.errors import UserError
from turnwise.models.dtypes import DTYPES, hf_config_dtype
from turnwise.training.checkpoint_files import START, load_snapshot, trainable_state
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.recipe import Recipe


def save_dtype(recipe: Recipe, base: ModelBundle) -> torch.dtype:
    """Return the dtype of the saved weights: the recipe's, else the base model's; float32 for new models."""
    name = recipe.training.save_dtype
    if name != "auto":
        return DTYPES[name]
    return hf_config_dtype(base.model.hf_config if base.folder is not None else {})


@torch.no_grad()
def rounding_loss_share(module: nn.Module, work: Path, dtype: torch.dtype) -> float | None:
    """Return the relative error that rounding causes in the weight change since the first step; None for float32.

    16-bit floats are spaced so widely that a change smaller than half the spacing is lost.
    """
    start = load_snapshot(work, module, START) if dtype != torch.float32 else None
    if start is None:
        return None
    lost = change = 0.0
    for name, tensor in trainable_state(module).items():
        lost += float((tensor - tensor.to(dtype).float()).square().sum())
        change += float((tensor - start[name]).square().sum())
    return (lost / change) ** 0.5 if change else None


@dataclass(frozen=True, slots=True)
class RoundingError:
    """What rounding takes from weights, over the matrices that it changes: the largest and the mean difference."""

    max: float
    mean: float


@torch.no_grad()
def rounding_error(module: nn.Module, dtype: torch.dtype) -> RoundingError:
    """Return the error of saving a model's weights in a dtype.

    Raises:
        UserError: a weight is too large for the type.
    """
    max_error = total = 0.0
    count = 0
    for name, tensor in module.named_parameters():
        error = (tensor.float() - tensor.to(dtype).float()).abs()
        largest = float(error.max()) if error.numel() else 0.0
        if not math.isfinite(largest):
            kind = str(dtype).removeprefix("torch.")
            raise UserError(
                f"'{name}' has weights that are too large for {kind}. Use --save-dtype bfloat16 or float32."
            )
        if largest:
            max_error, total, count = (
                max(max_error, largest),
                total + float(error.double().sum()),
                count + error.numel(),
            )
    return RoundingError(max_error, total / max(1, count))
