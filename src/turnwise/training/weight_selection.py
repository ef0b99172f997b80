"""Which weights a run ends with: the best on validation data, or a mix of those with the base's."""

from collections.abc import Callable
from functools import partial

from turnwise.training.checkpoint_files import BEST, START, load_trainable, trainable_state
from turnwise.training.checkpoint_manager import CheckpointManager
from turnwise.training.hooks import InterpolationResult
from turnwise.training.optim.weight_averaging import ALPHAS, interpolate_weights

EvaluateWeights = Callable[[], tuple[float, float | None]]


def load_best_weights(progress: CheckpointManager, *, validated: bool) -> None:
    """Take the best weights; where nothing was held out to tell, their average or else the last ones."""
    if validated:
        load_trainable(progress.module, progress.load_snapshot(BEST))
    elif progress.average is not None:
        load_trainable(progress.module, progress.average.weights)


def load_best_interpolation(
    progress: CheckpointManager, look: EvaluateWeights, allowed: float | None
) -> tuple[tuple[InterpolationResult, ...], float]:
    """Look for the best weights between the base's and those that were learned, and take them.

    Args:
        progress: has the learned weights, and kept the base's.
        look: the loss of what the model is now on validation data, and on what should not be forgotten.
        allowed: what the latter may be; None where nothing is measured.

    Returns:
        All mixes that were looked at, and the share of the way that was taken.
    """
    module, start = progress.module, progress.load_snapshot(START)
    tuned = {name: tensor.clone() for name, tensor in trainable_state(module).items()}
    found = []
    for share in ALPHAS:
        load_trainable(module, interpolate_weights(start, tuned, share))
        found.append(InterpolationResult(share, *look()))
    taken = min(found, key=partial(_worth, allowed=allowed)).share
    load_trainable(module, interpolate_weights(start, tuned, taken))
    return tuple(found), taken


def _worth(mix: InterpolationResult, allowed: float | None) -> tuple[float, float]:
    """Less is better: first how much more is forgotten than allowed, then the loss on validation data."""
    if mix.general is None or allowed is None:
        return 0.0, mix.valid
    return max(0.0, mix.general - allowed), mix.valid
