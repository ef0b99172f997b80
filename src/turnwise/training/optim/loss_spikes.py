"""Losses that are no number, or jump far above what they were: signs that a step would do more harm than good."""

import math
from dataclasses import replace
from pathlib import Path

from turnwise.core.errors import TurnwiseError
from turnwise.training.checkpoint_files import TrainerState, read_checkpoint_recipe

MAX_ROLLBACKS = 3  # times that a run goes back before it gives up
WARMUP_STEPS = 20  # steps before jumps are told from beginnings
EMA_DECAY = 0.95  # of the running mean


class LossSpike(Exception):
    """This step should not be made.

    Attributes:
        what: is no longer what it should be, as the beginning of a sentence.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.quantity = what


def check_loss_spike(state: TrainerState, loss: float, norm: float, limit: float) -> float:
    """The running mean of the loss with this step's.

    Losses that are near zero jump by themselves, from one batch to the next. So a jump is only what also ends above the
    loss that the run began with.

    Raises:
        Spike: the loss or the gradient is no number, or the loss is over `limit` times its running mean, and its first.
    """
    if not math.isfinite(loss):
        raise LossSpike("the loss")
    if not math.isfinite(norm):
        raise LossSpike("its gradient")
    if state.mean_loss is None or state.first_loss is None:
        state.first_loss = loss
        return loss
    if state.step >= WARMUP_STEPS and loss > limit * state.mean_loss and loss > state.first_loss > 0:
        raise LossSpike("the loss")
    return EMA_DECAY * state.mean_loss + (1 - EMA_DECAY) * loss


def state_after_rollback(now: TrainerState, restored: TrainerState, rows: int) -> TrainerState:
    """Where a run stands that goes back: half the rate, and the rows that led here are left out.

    Args:
        now: where it stood when it met a spike.
        restored: the checkpoint it goes back to.
        rows: in a step.
    """
    seen = (now.step + 1) * rows + now.skipped_rows
    return replace(
        now,  # the best weights so far stay what they are, and so does the time that was spent
        step=restored.step,
        mean_loss=restored.mean_loss,
        bad_validations=0,
        skipped_rows=seen - restored.step * rows,
        rate_scale=now.rate_scale / 2,
        rollbacks=now.rollbacks + 1,
        validated=restored.step,
    )


def divergence_error(work: Path, state: TrainerState, rate: float, what: str) -> TurnwiseError:
    """Raised before anything is changed or saved, so what is on disk is from when all was well."""
    if state.step == 0:
        return TurnwiseError(
            f"Before the first step {what} is not a finite number: the weights that training starts from are "
            "damaged, or too large for the 'dtype' it computes in."
        )
    kept = read_checkpoint_recipe(work) is not None
    times = state.rollbacks
    again = "is no longer what it should be" + (f", though it went back {times} times" if times else "")
    return TurnwiseError(
        f"After step {state.step} {what} {again}: training has diverged. Try a smaller "
        f"'learning_rate' (it was {rate:g}), a longer 'warmup' or the 'dtype' float32, with "
        "--restart." + (f" The checkpoint in {work} is from before." if kept else "")
    )
