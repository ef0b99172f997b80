"""Minimum number of tokens: masks the stop ids until the output is long enough."""

from copy import copy

import torch
from torch import Tensor

from turnwise.core.inference import GenerationRequest

ORDER = 60
REASON = "The answer may not end before it has {value} tokens."


class MinTokensProcessor:
    """Masks the stop ids for the first `num_tokens` tokens."""

    def __init__(self, num_tokens: int, stop_ids: frozenset[int]) -> None:
        self._num_remaining = num_tokens
        self._stop_ids = torch.tensor(sorted(stop_ids))

    def apply(self, logits_V: Tensor) -> None:
        """Mask the stop ids while tokens remain."""
        if self._num_remaining > 0:
            logits_V[self._stop_ids.to(logits_V.device)] = -torch.inf

    def accept(self, token_id: int) -> None:  # noqa: ARG002
        """Count one token."""
        self._num_remaining -= 1

    def fork(self) -> "MinTokensProcessor":
        """An independent copy."""
        return copy(self)


def start(request: GenerationRequest) -> MinTokensProcessor | None:
    """None if the minimum is 0 or there are no stop ids."""
    num_tokens = request.params.min_tokens
    return MinTokensProcessor(num_tokens, request.stop_ids) if num_tokens and request.stop_ids else None
