"""Logit bias: zᵢ + bᵢ for the tokens named in the request (the published formula)."""

import torch
from torch import Tensor

from turnwise.core.ports import GenerationRequest

ORDER = 40


class LogitBiasProcessor:
    """Adds the same numbers at every step."""

    def __init__(self, pairs: tuple[tuple[int, float], ...]) -> None:
        self._ids = torch.tensor([id for id, _ in pairs])
        self._values = torch.tensor([value for _, value in pairs])

    def apply(self, logits_V: Tensor) -> None:
        """Add them."""
        logits_V[self._ids.to(logits_V.device)] += self._values.to(logits_V)

    def accept(self, token: int) -> None:
        """What was said changes nothing."""

    def fork(self) -> "LogitBiasProcessor":
        """It has no state."""
        return self


def start(request: GenerationRequest) -> LogitBiasProcessor | None:
    """None where no token is named."""
    return LogitBiasProcessor(request.params.logit_bias) if request.params.logit_bias else None
