"""Learning-rate schedules, as a factor of the peak learning rate."""

import math
from typing import Literal

LrSchedule = Literal["cosine", "wsd", "constant"]


def lr_factor(step: int, *, total: int, warmup: int, schedule: LrSchedule, final: float = 0.1) -> float:
    """Return the factor at a step.

    All schedules start with a linear warmup. "cosine" decays to `final` along half a cosine wave (Loshchilov & Hutter
    2017). "wsd" (warmup, stable, decay; Hu et al. 2024) decays linearly over the last fifth. "constant" never decays.

    Args:
        step: step number, from 0.
        total: number of steps.
        warmup: warmup steps.
        schedule: name of the schedule.
        final: factor at the last step.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant" or total <= warmup:
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, total - warmup - 1))
    if schedule == "cosine":
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
    decay = 0.2
    return 1.0 if progress < 1 - decay else final + (1 - final) * (1 - progress) / decay
