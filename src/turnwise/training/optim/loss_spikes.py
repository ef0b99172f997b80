"""Detection of loss spikes: losses that are not finite or far above their running mean."""

import math
from dataclasses import replace
from pathlib import Path

from turnwise.core.errors import TurnwiseError
from turnwise.training.checkpoint_files import TrainerState, read_checkpoint_recipe

MAX_ROLLBACKS = 3  # per run
WARMUP_STEPS = 20  # no spike detection before this step
EMA_DECAY = 0.95  # of the running mean of the loss


class LossSpike(Exception):
    """The step must not be applied.

    Attributes:
        quantity: name of the quantity that spiked, "the loss" or "its gradient".
    """

    def __init__(self, quantity: str) -> None:
        super().__init__(quantity)
        self.quantity = quantity


def check_loss_spike(state: TrainerState, loss: float, norm: float, limit: float) -> float:
    """Return the running mean of the loss, updated with this step's.

    Losses near zero fluctuate strongly between batches, so a spike must also exceed the loss of the first step.

    Args:
        state: counters and losses so far.
        loss: mean loss of the step.
        norm: gradient norm of the step.
        limit: spike threshold as a multiple of the running mean; infinity: only losses that are not finite are spikes.

    Raises:
        LossSpike: loss or norm is not finite, or the loss exceeds `limit` times its running mean and the first loss.
    """
    if not math.isfinite(loss):
        raise LossSpike("the loss")
    if not math.isfinite(norm):
        raise LossSpike("its gradient")
    if state.mean_loss is None or state.first_loss is None:
        state.first_loss = loss
        return loss
    # Every loss exceeds infinity times a mean below 0.
    is_high = math.isfinite(limit) and loss > limit * state.mean_loss
    if state.step >= WARMUP_STEPS and is_high and loss > state.first_loss > 0:
        raise LossSpike("the loss")
    return EMA_DECAY * state.mean_loss + (1 - EMA_DECAY) * loss


def state_after_rollback(now: TrainerState, restored: TrainerState, rows: int) -> TrainerState:
    """Return the state after a rollback: half the learning rate, and the rows since the checkpoint are skipped.

    Args:
        now: state at the spike.
        restored: state of the rollback checkpoint.
        rows: rows per step.
    """
    rows_used = (now.step + 1) * rows + now.skipped_rows
    return replace(
        now,  # keeps the best loss and the time spent
        step=restored.step,
        mean_loss=restored.mean_loss,
        bad_validations=0,
        skipped_rows=rows_used - restored.step * rows,
        lr_scale=now.lr_scale / 2,
        rollbacks=now.rollbacks + 1,
        validated=restored.step,
    )


def divergence_error(work: Path, state: TrainerState, learning_rate: float, quantity: str) -> TurnwiseError:
    """Build the error for a diverged run. It is raised before weights or files change.

    Args:
        work: folder of the run.
        state: counters and losses.
        learning_rate: peak learning rate of the recipe.
        quantity: name of the quantity that is not finite or spiked.
    """
    if state.step == 0:
        return TurnwiseError(
            f"Before the first step {quantity} is not a finite number: the weights that training starts from are "
            "damaged, or too large for the compute type 'dtype'."
        )
    times = f", even after {state.rollbacks} rollbacks" if state.rollbacks else ""
    has_checkpoint = read_checkpoint_recipe(work) is not None
    return TurnwiseError(
        f"After step {state.step} {quantity} is not finite or far too high{times}: training has diverged. Try a "
        f"smaller 'learning_rate' (it was {learning_rate:g}), a larger 'warmup_ratio' or the 'dtype' float32, with "
        "--restart." + (f" The checkpoint in {work} is from before." if has_checkpoint else "")
    )
