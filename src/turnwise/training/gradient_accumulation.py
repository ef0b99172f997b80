"""The gradient of one optimiser step, a few rows at a time, exactly as if all had fitted at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from turnwise.models.language_model import LanguageModel
from turnwise.training.distributed.sharding import full_tensor, is_sharded, padding_steps
from turnwise.training.distributed.worker_group import SINGLE_PROCESS, WorkerGroup
from turnwise.training.examples.batches import Batch
from turnwise.training.log_probs import autocast
from turnwise.training.objective import Objective
from turnwise.training.optim.neftune import neftune_noise
from turnwise.training.validation import StopRequested, add


@dataclass(frozen=True, slots=True)
class GradientResult:
    """What a step's gradient came with; the gradient itself is in the parameters, clipped.

    Attributes:
        loss: per unit that is reported.
        norm: of the gradient before it was clipped, per unit that is reported.
        figures: what else the objective watches, likewise.
        useful: tokens that are no padding.
    """

    loss: float
    norm: float
    extra_metrics: dict[str, float]
    num_tokens: int


def accumulate_gradients(
    model: LanguageModel,
    objective: Objective,
    batches: Sequence[Batch],
    *,
    clip_norm: float,
    dtype: torch.dtype,
    neftune: float | None = None,
    workers: WorkerGroup = SINGLE_PROCESS,
    stop: Callable[[], bool] = lambda: False,
) -> GradientResult:
    """Compute the gradient of a step over all batches, those of other workers included; ours are on our device.

    Raises:
        Stopped: `stop()` between two batches.
    """
    device = batches[0].ids_BT.device
    idle = [batches[-1]] * padding_steps(model.module, len(batches), workers)  # computed along with others, for nothing
    with autocast(device, dtype):
        total, count = objective.batch_statistic(model, batches)
        objective.batch_statistic(model, idle)
    share, reported, num_tokens, total, count = workers.all_reduce_sum(
        [
            sum(objective.share(batch) for batch in batches),
            sum(objective.metric_denominator(batch) for batch in batches),
            sum(batch.num_tokens for batch in batches),
            total,
            count,
        ]
    )
    before = objective.reduce_statistic(total, count)
    summed = 0.0
    extra_metrics: dict[str, float] = {}
    for batch in batches:
        if stop():
            raise StopRequested
        with autocast(device, dtype), neftune_noise(model, batch, neftune):
            outcome = objective.loss(model, batch, before)
        (outcome.summed / share).backward()  # type: ignore[no-untyped-call]
        summed += outcome.summed.item()
        add(extra_metrics, outcome, reported)
    for batch in idle:
        with autocast(device, dtype):
            outcome = objective.loss(model, batch, before)
        (outcome.summed * 0).backward()  # type: ignore[no-untyped-call]
    learning = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
    if not is_sharded(model.module):  # or else they are added up already
        workers.all_reduce_gradients(learning)
    if workers.world_size > 1:
        summed, *values = workers.all_reduce_sum([summed, *extra_metrics.values()])
        extra_metrics = dict(zip(extra_metrics, values, strict=True))
    # The bound is on the gradient per unit of the loss, so it means the same whatever the loss is divided by.
    norm = full_tensor(torch.nn.utils.clip_grad_norm_(learning, clip_norm * reported / share)).item()
    return GradientResult(summed / reported, norm * share / reported, extra_metrics, int(num_tokens))
