"""Learning rates over time, as a factor of the peak rate."""

import math
from typing import Literal

LrSchedule = Literal["cosine", "wsd", "constant"]


def lr_factor(step: int, *, total: int, warmup: int, schedule: LrSchedule, final: float = 0.1) -> float:
    """The factor at `step` (from 0) of `total`.

    All begin with a linear warm-up. "cosine" falls to `final` along a half wave (Loshchilov & Hutter 2017), "wsd" stays
    at the peak and falls linearly over the last fifth (warm-up, stable, decay; Hu et al. 2024), "constant" stays.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant" or total <= warmup:
        return 1.0
    done = min(1.0, (step - warmup) / max(1, total - warmup - 1))
    if schedule == "cosine":
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))
    decay = 0.2
    return 1.0 if done < 1 - decay else final + (1 - final) * (1 - done) / decay
