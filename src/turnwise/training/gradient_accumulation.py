"""The gradient of one optimizer step, accumulated over micro-batches; equal to that of one large batch."""

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
from turnwise.training.validation import StopRequested, add_metrics


@dataclass(frozen=True, slots=True)
class GradientResult:
    """Values logged with a gradient. The gradient itself, clipped, is in the parameters.

    Attributes:
        loss: mean loss per reported unit.
        norm: gradient norm before clipping, per reported unit.
        extra_metrics: the objective's extra metrics per reported unit.
        num_tokens: tokens in the step, without padding.
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
    max_grad_norm: float,
    dtype: torch.dtype,
    neftune_noise_alpha: float | None = None,
    workers: WorkerGroup = SINGLE_PROCESS,
    stop: Callable[[], bool] = lambda: False,
) -> GradientResult:
    """Compute the gradient of a step over this worker's batches and sum it over all workers.

    Args:
        model: the model in training mode.
        objective: computes the loss.
        batches: this worker's micro-batches, on its device; at least one.
        max_grad_norm: maximum gradient norm, in units of the reported loss.
        dtype: compute type.
        neftune_noise_alpha: NEFTune noise scale α; None adds no noise.
        workers: the processes that train together.
        stop: polled before every micro-batch.

    Raises:
        StopRequested: `stop` returned True; the gradient is incomplete.
    """
    device = batches[0].ids_BT.device
    padding = [batches[-1]] * padding_steps(model.module, len(batches), workers)
    with autocast(device, dtype):
        total, count = objective.batch_statistic(model, batches)
        objective.batch_statistic(model, padding)
    # The loss is divided by sums over the whole step, so every worker needs them before its first backward pass.
    loss_denominator, metric_denominator, num_tokens, total, count = workers.all_reduce_sum(
        [
            sum(objective.loss_denominator(batch) for batch in batches),
            sum(objective.metric_denominator(batch) for batch in batches),
            sum(batch.num_tokens for batch in batches),
            total,
            count,
        ]
    )
    statistic = objective.reduce_statistic(total, count)
    loss_sum = 0.0
    extra_metrics: dict[str, float] = {}
    for batch in batches:
        if stop():
            raise StopRequested
        with autocast(device, dtype), neftune_noise(model, batch, neftune_noise_alpha):
            output = objective.loss(model, batch, statistic)
        (output.loss_sum / loss_denominator).backward()  # type: ignore[no-untyped-call]
        loss_sum += output.loss_sum.item()
        add_metrics(extra_metrics, output, metric_denominator)
    for batch in padding:  # FSDP: all ranks must run the same number of forward and backward passes
        with autocast(device, dtype):
            output = objective.loss(model, batch, statistic)
        (output.loss_sum * 0).backward()  # type: ignore[no-untyped-call]
    trainable = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
    if not is_sharded(model.module):  # FSDP has reduced the gradients in its backward pass
        workers.all_reduce_gradients(trainable)
    if workers.world_size > 1:
        loss_sum, *values = workers.all_reduce_sum([loss_sum, *extra_metrics.values()])
        extra_metrics = dict(zip(extra_metrics, values, strict=True))
    # max_grad_norm refers to the reported loss, so that it means the same for every loss denominator.
    max_norm = max_grad_norm * metric_denominator / loss_denominator
    norm = full_tensor(torch.nn.utils.clip_grad_norm_(trainable, max_norm)).item()
    return GradientResult(
        loss_sum / metric_denominator, norm * loss_denominator / metric_denominator, extra_metrics, int(num_tokens)
    )
