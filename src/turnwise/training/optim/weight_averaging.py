"""Weight averaging over the steps of a run (EMA), and interpolation of base and tuned weights (WiSE-FT)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from turnwise.training.checkpoint_files import load_trainable, trainable_state

ALPHAS = (0.3, 0.5, 0.7, 1.0)  # interpolation coefficients to try; 1 is the tuned weights


class ExponentialMovingAverage:
    """Exponential moving average of the trainable weights (Polyak & Juditsky 1992), used for validation.

    The decay after n steps is min(decay, (1 + n) / (10 + n)), so that the initial weights fade quickly.

    Args:
        module: model in training.
        decay: final decay per step.
        weights: averages from a checkpoint; default: the current weights.
    """

    def __init__(self, module: nn.Module, decay: float, weights: dict[str, Tensor] | None = None) -> None:
        self._module, self.decay = module, decay
        self.weights = weights or {name: tensor.clone() for name, tensor in trainable_state(module).items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the averages after step number `step`."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, tensor in trainable_state(self._module).items():
            self.weights[name].lerp_(tensor, weight)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Context manager: the model has the averaged weights in the block."""
        current = {name: tensor.clone() for name, tensor in trainable_state(self._module).items()}
        load_trainable(self._module, self.weights)
        try:
            yield
        finally:
            load_trainable(self._module, current)


def interpolate_weights(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return (1−α)·base + α·tuned (WiSE-FT, Wortsman et al. 2022)."""
    return {name: torch.lerp(tensor, tuned[name], alpha) for name, tensor in base.items()}
