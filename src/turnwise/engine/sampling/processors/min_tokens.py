"""Least number of tokens: the ids that end an answer are masked until it has so many."""

from copy import copy

import torch
from torch import Tensor

from turnwise.core.ports import GenerationRequest

ORDER = 60


class MinTokensProcessor:
    """Counts down."""

    def __init__(self, left: int, stop_ids: frozenset[int]) -> None:
        self._left = left
        self._stop_ids = torch.tensor(sorted(stop_ids))

    def apply(self, logits_V: Tensor) -> None:
        """Mask the end while there are tokens to go."""
        if self._left > 0:
            logits_V[self._stop_ids.to(logits_V.device)] = -torch.inf

    def accept(self, token: int) -> None:  # noqa: ARG002
        """One less to go, whichever it was."""
        self._left -= 1

    def fork(self) -> "MinTokensProcessor":
        """Another that has seen the same."""
        return copy(self)


def start(request: GenerationRequest) -> MinTokensProcessor | None:
    """None at 0, or where nothing ends an answer anyhow."""
    least = request.params.min_tokens
    return MinTokensProcessor(least, request.stop_ids) if least and request.stop_ids else None
