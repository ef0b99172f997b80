"""From logits to one token per row, each row by its own parameters and its own random numbers.

A row's draw depends on its seed, how many tokens it has drawn and its logits, not on who else is in the batch.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from turnwise.core.parameters import PARAMETER_SPECS, GenerationParams
from turnwise.engine.sampling.warpers import rules

MIN_TEMPERATURE = 1e-5  # below this the likeliest token has all the probability, and dividing by it would overflow


@dataclass(frozen=True)
class SamplerState:
    """What sampling needs to know of a request: its parameters and its source of random numbers."""

    params: GenerationParams
    rng: random.Random

    @classmethod
    def of(cls, params: GenerationParams) -> "SamplerState":
        """A fresh source for a request; without a seed the system gives one."""
        seed = params.seed
        return cls(params, random.Random(seed if seed is None else seed % 2**64))  # Random drops the sign of a seed

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.params.temperature < MIN_TEMPERATURE

    def uniform(self) -> float:
        """A random number for the next token, in [0, 1); a greedy row uses none of its source."""
        return 0.0 if self.greedy else self.rng.random()


def sample(logits_BV: Tensor, draws: Sequence[SamplerState]) -> list[int]:
    """The next token of every row, drawn with the next random number of its source."""
    return sample_at(logits_BV, draws, [draw.uniform() for draw in draws])


def sample_at(logits_BV: Tensor, draws: Sequence[SamplerState], uniform: Sequence[float]) -> list[int]:
    """The next token of every row, as `sample`, at random numbers that were drawn before.

    Greedy rows take the likeliest token (the first of equals). The others are drawn by inverting the cumulative
    distribution at their number.
    """
    tokens = _likeliest(logits_BV)
    drawn = [i for i, draw in enumerate(draws) if not draw.greedy]
    if not drawn:
        return tokens
    rows_RV = logits_BV[drawn].float()
    for name, rule in rules().items():
        values = [getattr(draws[i].params, name) for i in drawn]
        if any(value != PARAMETER_SPECS[name].off for value in values):
            rows_RV = rule.apply(rows_RV, torch.tensor(values, device=rows_RV.device))
    cumulative_RV = rows_RV.softmax(dim=1).double().cumsum(dim=1)
    own = [uniform[i] for i in drawn]
    target_R1 = torch.tensor(own, dtype=torch.float64, device=rows_RV.device).unsqueeze(1) * cumulative_RV[:, -1:]
    picked = torch.searchsorted(cumulative_RV, target_R1, right=True).squeeze(1).clamp(max=logits_BV.shape[1] - 1)
    for i, token in zip(drawn, picked.tolist(), strict=True):
        tokens[i] = token
    return tokens


def _likeliest(logits_BV: Tensor) -> list[int]:
    """The first of the largest of each row; on a processor by numpy, which is several times quicker at it."""
    if logits_BV.device.type == "cpu" and logits_BV.dtype == torch.float32:
        return list(np.argmax(logits_BV.numpy(), axis=1).tolist())
    return list(logits_BV.argmax(dim=1).tolist())
