"""Where a run computes, and in what."""

import torch

from turnwise.models.checkpoint import auto_dtype
from turnwise.training.recipe import TrainingSection


def default_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(settings: TrainingSection, device: torch.device) -> torch.dtype:
    """What is computed in."""
    wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(settings.dtype)
    return wanted or auto_dtype(device)
