"""Logit bias (OpenAI API): zᵢ + bᵢ for the token ids in the request."""

import torch
from torch import Tensor

from turnwise.core.inference import GenerationRequest

ORDER = 40


class LogitBiasProcessor:
    """Adds constants to the logits; stateless."""

    def __init__(self, pairs: tuple[tuple[int, float], ...]) -> None:
        self._ids = torch.tensor([id for id, _ in pairs])
        self._values = torch.tensor([value for _, value in pairs])

    def apply(self, logits_V: Tensor) -> None:
        """Add the biases."""
        logits_V[self._ids.to(logits_V.device)] += self._values.to(logits_V)

    def accept(self, token_id: int) -> None:
        """Nothing to update."""

    def fork(self) -> "LogitBiasProcessor":
        """The same object, because it has no state."""
        return self


def start(request: GenerationRequest) -> LogitBiasProcessor | None:
    """None if the request has no biases."""
    return LogitBiasProcessor(request.params.logit_bias) if request.params.logit_bias else None
