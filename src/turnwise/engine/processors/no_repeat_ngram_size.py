"""No repeated n-grams (Paulus et al. 2018): a token that would complete an n-gram of prompt and answer is masked."""

from collections import defaultdict

import torch
from torch import Tensor

from turnwise.core.ports import GenerationRequest

ORDER = 50


class Seen:
    """For every n − 1 tokens in a row, what came after them."""

    def __init__(self, size: int, ids: tuple[int, ...]) -> None:
        self._before = size - 1
        self._ids: list[int] = []
        self._after: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
        for id in ids:
            self.accept(id)

    def apply(self, logits_V: Tensor) -> None:
        """Mask what came after the last n − 1 tokens before."""
        if len(self._ids) >= self._before and (banned := self._after.get(self._last())):
            logits_V[torch.tensor(sorted(banned), device=logits_V.device)] = -torch.inf

    def accept(self, token: int) -> None:
        """The n-gram that ends here."""
        if len(self._ids) >= self._before:
            self._after[self._last()].add(token)
        self._ids.append(token)

    def fork(self) -> "Seen":
        """Another that has seen the same."""
        return Seen(self._before + 1, tuple(self._ids))

    def _last(self) -> tuple[int, ...]:
        return tuple(self._ids[len(self._ids) - self._before :])


def start(request: GenerationRequest) -> Seen | None:
    """None at 0."""
    size = request.params.no_repeat_ngram_size
    return Seen(size, request.prompt_ids) if size else None
