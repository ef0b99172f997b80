"""Where a run computes, and in what."""

import torch
from torch import Tensor

from turnwise.models.checkpoint import auto_dtype
from turnwise.training.recipe import TrainingSection


def default_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(settings: TrainingSection, device: torch.device) -> torch.dtype:
    """What is computed in."""
    wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(settings.dtype)
    return wanted or auto_dtype(device)


def rng_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """State of the random number generators that dropout and noise draw from."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def restore_rng_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
