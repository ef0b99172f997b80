"""Losses that are no number, or jump far above what they were: signs that a step would do more harm than good."""

import math

from turnwise.training.state import RunState

ROLLBACKS = 3  # times that a run goes back before it gives up
CALM = 20  # steps before jumps are told from beginnings
MEMORY = 0.95  # of the running mean


class Spike(Exception):
    """This step should not be made.

    Attributes:
        what: is no longer what it should be, as the beginning of a sentence.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def check_spike(state: RunState, loss: float, norm: float, limit: float) -> float:
    """The running mean of the loss with this step's.

    Losses that are near zero jump by themselves, from one batch to the next. So a jump is only what also ends above the
    loss that the run began with.

    Raises:
        Spike: the loss or the gradient is no number, or the loss is over `limit` times its running mean, and its first.
    """
    if not math.isfinite(loss):
        raise Spike("the loss")
    if not math.isfinite(norm):
        raise Spike("its gradient")
    if state.mean_loss is None or state.first_loss is None:
        state.first_loss = loss
        return loss
    if state.step >= CALM and loss > limit * state.mean_loss and loss > state.first_loss > 0:
        raise Spike("the loss")
    return MEMORY * state.mean_loss + (1 - MEMORY) * loss
