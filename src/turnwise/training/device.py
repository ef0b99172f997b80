"""Device, compute dtype and random state of a run."""

import torch
from torch import Tensor

from turnwise.models.dtypes import auto_dtype
from turnwise.training.recipe_sections import TrainingSection


def default_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(settings: TrainingSection, device: torch.device) -> torch.dtype:
    """Return the dtype of forward and backward passes."""
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(settings.dtype)
    return dtype or auto_dtype(device)


def rng_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return the state of the random generators that dropout and NEFTune use."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def restore_rng_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    """Restore a state returned by `rng_state`."""
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
