"""How often an answer holds each token, for the penalties that go by it."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor


class CountPenalty:
    """Takes `cost(count)` off the logit of every token of the answer (a processor's state)."""

    def __init__(self, cost: Callable[[int], float]) -> None:
        self._cost = cost
        self._counts: Counter[int] = Counter()

    def apply(self, logits_V: Tensor) -> None:
        """Take off what each token costs."""
        if self._counts:
            ids = torch.tensor(list(self._counts), device=logits_V.device)
            logits_V[ids] -= torch.tensor([self._cost(n) for n in self._counts.values()]).to(logits_V)

    def accept(self, token: int) -> None:
        """Once more."""
        self._counts[token] += 1

    def fork(self) -> "CountPenalty":
        """Another that has seen the same."""
        twin = CountPenalty(self._cost)
        twin._counts = self._counts.copy()
        return twin
