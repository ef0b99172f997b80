"""Penalties that depend on how often the output contains a token."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor


class CountPenalty:
    """Logits processor that subtracts `penalty(count)` from the logit of every token in the output."""

    def __init__(self, penalty: Callable[[int], float]) -> None:
        self._penalty = penalty
        self._counts: Counter[int] = Counter()

    def apply(self, logits_V: Tensor) -> None:
        """Subtract the penalties."""
        if self._counts:
            ids = torch.tensor(list(self._counts), device=logits_V.device)
            logits_V[ids] -= torch.tensor([self._penalty(n) for n in self._counts.values()]).to(logits_V)

    def accept(self, token_id: int) -> None:
        """Count one more occurrence."""
        self._counts[token_id] += 1

    def fork(self) -> "CountPenalty":
        """An independent copy."""
        forked = CountPenalty(self._penalty)
        forked._counts = self._counts.copy()
        return forked
