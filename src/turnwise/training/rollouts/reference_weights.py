"""A copy of a model's trainable weights that takes their place in a block: a second model without a second base."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ReferenceWeights:
    """A copy of the trainable weights at one moment.

    With LoRA it has the size of the adapter, so that the reference model of a KL anchor costs a few megabytes.

    Attributes:
        weights: the copies by name.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.weights: dict[str, Tensor] = {}
        self.update()

    def update(self) -> None:
        """Copy the current weights."""
        self.weights = {name: parameter.detach().clone() for name, parameter in self._trainable()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Replace the copies, for example by those of a checkpoint."""
        self.weights = {name: weights[name].to(parameter.device) for name, parameter in self._trainable()}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Compute with the copies in the block, without gradients."""
        current = {name: parameter.data for name, parameter in self._trainable()}
        was_training = self._module.training
        try:
            for name, parameter in self._trainable():
                parameter.data = self.weights[name]
            self._module.eval()
            with torch.no_grad():
                yield
        finally:
            for name, parameter in self._trainable():
                parameter.data = current[name]
            self._module.train(was_training)

    def _trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self._module.named_parameters() if p.requires_grad)
