"""Greedy forward selection: one demonstration after the other, each time the one with the lowest validation loss.

It costs `shots · trials` measurements, once; the result is a part of the chat template. Loss on held-out dialogues
chooses better demonstrations than similarity where the dialogues are alike (Rubin et al. 2022 score candidates by the
likelihood of the answer).
"""

from collections.abc import Callable, Sequence
from random import Random


def fit(num_candidates: int, shots: int, loss: Callable[[Sequence[int]], float], rng: Random, trials: int) -> list[int]:
    """The chosen demonstrations, the first one chosen last: the strongest stands next to the dialogue.

    A demonstration that raises the loss is not added, so there may be fewer than `shots`, but at least one.
    """
    chosen: list[int] = []
    lowest = float("inf")
    while len(chosen) < shots:
        free = [index for index in range(num_candidates) if index not in chosen]
        losses = {index: loss([index, *chosen]) for index in rng.sample(free, min(trials, len(free)))}
        best = min(losses, key=losses.__getitem__, default=None)
        if best is None or losses[best] >= lowest:
            break
        lowest = losses[best]
        chosen.insert(0, best)
    return chosen
