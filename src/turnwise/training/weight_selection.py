"""The weights a run ends with: the best on validation data, or an interpolation of base and tuned weights."""

from collections.abc import Callable
from functools import partial

from turnwise.training.checkpoint_files import BEST, START, load_trainable, trainable_state
from turnwise.training.checkpoint_manager import CheckpointManager
from turnwise.training.hooks import InterpolationResult
from turnwise.training.optim.weight_averaging import ALPHAS, interpolate_weights

EvaluateWeights = Callable[[], tuple[float, float | None]]
"""Returns the model's current loss on validation data and on retention data (None without any)."""


def load_best_weights(checkpoints: CheckpointManager, *, validated: bool) -> None:
    """Load the weights with the lowest validation loss; without validation data the averaged or the last ones."""
    if validated:
        load_trainable(checkpoints.module, checkpoints.load_snapshot(BEST))
    elif checkpoints.average is not None:
        load_trainable(checkpoints.module, checkpoints.average.weights)


def load_best_interpolation(
    checkpoints: CheckpointManager, evaluate: EvaluateWeights, max_retention_loss: float | None
) -> tuple[tuple[InterpolationResult, ...], float]:
    """Evaluate (1−α)·base + α·tuned for several α and load the best (WiSE-FT, Wortsman et al. 2022).

    Args:
        checkpoints: holds the tuned weights and a snapshot of the base weights.
        evaluate: measures the model's current weights.
        max_retention_loss: upper bound of the loss on retention data; None sets no bound.

    Returns:
        The result for every α, and the α that was loaded.
    """
    module, start = checkpoints.module, checkpoints.load_snapshot(START)
    tuned = {name: tensor.clone() for name, tensor in trainable_state(module).items()}
    results = []
    for alpha in ALPHAS:
        load_trainable(module, interpolate_weights(start, tuned, alpha))
        results.append(InterpolationResult(alpha, *evaluate()))
    best = min(results, key=partial(_sort_key, max_retention_loss=max_retention_loss)).alpha
    load_trainable(module, interpolate_weights(start, tuned, best))
    return tuple(results), best


def _sort_key(result: InterpolationResult, max_retention_loss: float | None) -> tuple[float, float]:
    """Sort by how far the retention loss exceeds its bound, then by validation loss."""
    if result.retention_loss is None or max_retention_loss is None:
        return 0.0, result.valid_loss
    return max(0.0, result.retention_loss - max_retention_loss), result.valid_loss
