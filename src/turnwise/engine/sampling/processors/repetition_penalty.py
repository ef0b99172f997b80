"""Repetition penalty (Keskar et al. 2019, CTRL): lowers the logits of tokens that occur in prompt or output.

zᵢ / θ if zᵢ is positive and zᵢ · θ if it is negative, independent of the number of occurrences. θ < 1 favours
repetition.
"""

import torch
from torch import Tensor

from turnwise.core.inference import GenerationRequest

ORDER = 10


class RepetitionPenaltyProcessor:
    """Keeps the set of tokens that have occurred."""

    def __init__(self, penalty: float, token_ids: set[int]) -> None:
        self._penalty = penalty
        self._token_ids = token_ids
        self._ids_tensor: Tensor | None = None  # of `_token_ids`; None after a change

    def apply(self, logits_V: Tensor) -> None:
        """Divide positive logits by the penalty and multiply negative ones."""
        if self._ids_tensor is None:
            self._ids_tensor = torch.tensor(sorted(self._token_ids), device=logits_V.device)
        selected = logits_V[self._ids_tensor]
        logits_V[self._ids_tensor] = torch.where(selected < 0, selected * self._penalty, selected / self._penalty)

    def accept(self, token_id: int) -> None:
        """Add a token."""
        if token_id not in self._token_ids:
            self._token_ids.add(token_id)
            self._ids_tensor = None

    def fork(self) -> "RepetitionPenaltyProcessor":
        """An independent copy."""
        return RepetitionPenaltyProcessor(self._penalty, set(self._token_ids))


def start(request: GenerationRequest) -> RepetitionPenaltyProcessor | None:
    """None if the penalty is 1."""
    penalty = request.params.repetition_penalty
    return None if penalty == 1 else RepetitionPenaltyProcessor(penalty, set(request.prompt_ids))
