"""Averages of weights: over the steps of a run, and between a run's end and its beginning."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from turnwise.training.checkpoint_files import load_trainable, trainable_state

ALPHAS = (0.3, 0.5, 0.7, 1.0)  # of the way from the base to what was learned


class ExponentialMovingAverage:
    """An exponential moving average of the weights that learn (Polyak & Juditsky 1992), which validation looks at.

    Early on it forgets sooner, min(decay, (1 + n) / (10 + n)) after n steps, so that it does not stay at the beginning.
    """

    def __init__(self, module: nn.Module, decay: float, weights: dict[str, Tensor] | None = None) -> None:
        self._module, self.decay = module, decay
        self.weights = weights or {name: tensor.clone() for name, tensor in trainable_state(module).items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, tensor in trainable_state(self._module).items():
            self.weights[name].lerp_(tensor, share)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within the block the model has the average's weights."""
        own = {name: tensor.clone() for name, tensor in trainable_state(self._module).items()}
        load_trainable(self._module, self.weights)
        try:
            yield
        finally:
            load_trainable(self._module, own)


def interpolate_weights(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """So much of the way from one to the other (Wortsman et al. 2022, WiSE-FT)."""
    return {name: torch.lerp(tensor, tuned[name], share) for name, tensor in base.items()}
