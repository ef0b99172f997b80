"""Multinomial sampling: one token per row, with the parameters and random numbers of that row.

A row's token depends on its seed, on how many tokens were sampled before and on its logits, not on the other rows.

Shapes: B rows, R rows that are not greedy, V vocabulary.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from turnwise.core.parameters import PARAMETER_SPECS, GenerationParams
from turnwise.engine.sampling.warpers import load_warpers

MIN_TEMPERATURE = 1e-5  # below this, sampling is greedy: dividing by the temperature would overflow


@dataclass(frozen=True)
class SamplerState:
    """Sampling parameters of a request and its random number generator."""

    params: GenerationParams
    rng: random.Random

    @classmethod
    def from_params(cls, params: GenerationParams) -> "SamplerState":
        """State with the request's seed, or with one from the operating system."""
        seed = params.seed
        return cls(params, random.Random(seed if seed is None else seed % 2**64))  # Random drops the sign of a seed

    @property
    def is_greedy(self) -> bool:
        """True if the most likely token is always taken."""
        return self.params.temperature < MIN_TEMPERATURE

    def next_uniform(self) -> float:
        """The next random number in [0, 1); a greedy row consumes none."""
        return 0.0 if self.is_greedy else self.rng.random()


def sample_tokens(logits_BV: Tensor, states: Sequence[SamplerState]) -> list[int]:
    """Sample one token per row with the next random number of each."""
    return sample_tokens_at(logits_BV, states, [state.next_uniform() for state in states])


def sample_tokens_at(logits_BV: Tensor, states: Sequence[SamplerState], uniforms: Sequence[float]) -> list[int]:
    """Sample one token per row at the given random numbers.

    Greedy rows take the most likely token, the first of equals. The others use inverse transform sampling: the first
    token whose cumulative probability exceeds the random number.
    """
    token_ids = _argmax(logits_BV)
    random_rows = [row for row, state in enumerate(states) if not state.is_greedy]
    if not random_rows:
        return token_ids
    logits_RV = logits_BV[random_rows].float()
    for _, warped_RV in apply_warpers(logits_RV, [states[row].params for row in random_rows]):
        logits_RV = warped_RV
    cumulative_RV = logits_RV.softmax(dim=1).double().cumsum(dim=1)
    uniform_R1 = torch.tensor(
        [uniforms[row] for row in random_rows], dtype=torch.float64, device=logits_RV.device
    ).unsqueeze(1)
    target_R1 = uniform_R1 * cumulative_RV[:, -1:]
    sampled_R = torch.searchsorted(cumulative_RV, target_R1, right=True).squeeze(1).clamp(max=logits_BV.shape[1] - 1)
    for row, token_id in zip(random_rows, sampled_R.tolist(), strict=True):
        token_ids[row] = token_id
    return token_ids


def apply_warpers(logits_RV: Tensor, params: Sequence[GenerationParams]) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each warper that a row uses, and the logits after it, `(R, V)`."""
    for name, warper in load_warpers().items():
        values = [row_params.value(name) for row_params in params]
        if any(value != PARAMETER_SPECS[name].neutral for value in values):
            logits_RV = warper.apply(logits_RV, torch.tensor(values, device=logits_RV.device))
            yield name, logits_RV


def _argmax(logits_BV: Tensor) -> list[int]:
    """The first index of each row's maximum; by numpy on CPUs, where it is several times faster than torch."""
    if logits_BV.device.type == "cpu" and logits_BV.dtype == torch.float32:
        return list(np.argmax(logits_BV.numpy(), axis=1).tolist())
    return list(logits_BV.argmax(dim=1).tolist())
