"""Repetition penalty (Keskar et al. 2019, CTRL): the logits of tokens that prompt or answer hold are made smaller.

zᵢ / θ where zᵢ is positive and zᵢ · θ where it is negative, once for each token however often it came. θ < 1 rewards.
"""

import torch
from torch import Tensor

from turnwise.core.ports import GenerationRequest

ORDER = 10


class RepetitionPenaltyProcessor:
    """Remembers which tokens came up."""

    def __init__(self, penalty: float, seen: set[int]) -> None:
        self._penalty = penalty
        self._seen = seen
        self._ids: Tensor | None = None

    def apply(self, logits_V: Tensor) -> None:
        """Divide or multiply."""
        if self._ids is None:
            self._ids = torch.tensor(sorted(self._seen), device=logits_V.device)
        seen = logits_V[self._ids]
        logits_V[self._ids] = torch.where(seen < 0, seen * self._penalty, seen / self._penalty)

    def accept(self, token: int) -> None:
        """One more that came up."""
        if token not in self._seen:
            self._seen.add(token)
            self._ids = None

    def fork(self) -> "RepetitionPenaltyProcessor":
        """Another that has seen the same."""
        return RepetitionPenaltyProcessor(self._penalty, set(self._seen))


def start(request: GenerationRequest) -> RepetitionPenaltyProcessor | None:
    """None at 1."""
    penalty = request.params.repetition_penalty
    return None if penalty == 1 else RepetitionPenaltyProcessor(penalty, set(request.prompt_ids))
