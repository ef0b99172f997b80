"""The gradient of one optimiser step, a few rows at a time, exactly as if all had fitted at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from turnwise.training.examples.batches import Batch
from turnwise.models.language_model import Model
from turnwise.training.validation import Stopped, add
from turnwise.training.optim.neftune import noise_on_embeddings
from turnwise.training.objective import Objective
from turnwise.training.log_probs import computing
from turnwise.training.distributed.sharding import is_sharded, padding_steps, full_tensor
from turnwise.training.distributed.worker_group import ALONE, Workers


@dataclass(frozen=True, slots=True)
class Gradient:
    """What a step's gradient came with; the gradient itself is in the parameters, clipped.

    Attributes:
        loss: per unit that is reported.
        norm: of the gradient before it was clipped, per unit that is reported.
        figures: what else the objective watches, likewise.
        useful: tokens that are no padding.
    """

    loss: float
    norm: float
    figures: dict[str, float]
    useful: int


def accumulate_gradients(
    model: Model,
    objective: Objective,
    batches: Sequence[Batch],
    *,
    clip_norm: float,
    dtype: torch.dtype,
    neftune: float | None = None,
    workers: Workers = ALONE,
    stop: Callable[[], bool] = lambda: False,
) -> Gradient:
    """Compute the gradient of a step over all batches, those of other workers included; ours are on our device.

    Raises:
        Stopped: `stop()` between two batches.
    """
    device = batches[0].ids_BT.device
    idle = [batches[-1]] * padding_steps(model.module, len(batches), workers)  # computed along with others, for nothing
    with computing(device, dtype):
        total, count = objective.before_step(model, batches)
        objective.before_step(model, idle)
    share, reported, useful, total, count = workers.all_reduce_sum(
        [
            sum(objective.share(batch) for batch in batches),
            sum(objective.reported(batch) for batch in batches),
            sum(batch.useful for batch in batches),
            total,
            count,
        ]
    )
    before = objective.settled(total, count)
    summed = 0.0
    figures: dict[str, float] = {}
    for batch in batches:
        if stop():
            raise Stopped
        with computing(device, dtype), noise_on_embeddings(model, batch, neftune):
            outcome = objective.loss(model, batch, before)
        (outcome.summed / share).backward()  # type: ignore[no-untyped-call]
        summed += outcome.summed.item()
        add(figures, outcome, reported)
    for batch in idle:
        with computing(device, dtype):
            outcome = objective.loss(model, batch, before)
        (outcome.summed * 0).backward()  # type: ignore[no-untyped-call]
    learning = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
    if not is_sharded(model.module):  # or else they are added up already
        workers.add_gradients(learning)
    if workers.world_size > 1:
        summed, *values = workers.all_reduce_sum([summed, *figures.values()])
        figures = dict(zip(figures, values, strict=True))
    # The bound is on the gradient per unit of the loss, so it means the same whatever the loss is divided by.
    norm = full_tensor(torch.nn.utils.clip_grad_norm_(learning, clip_norm * reported / share)).item()
    return Gradient(summed / reported, norm * share / reported, figures, int(useful))
