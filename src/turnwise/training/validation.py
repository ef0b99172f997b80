"""Loss on held-out data, computed as in training."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import torch

from turnwise.models.language_model import LanguageModel
from turnwise.training.distributed.sharding import is_sharded, reshard
from turnwise.training.distributed.worker_group import SINGLE_PROCESS, WorkerGroup
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.dataset import Dataset
from turnwise.training.log_probs import autocast
from turnwise.training.objective import LossOutput


class StopRequested(Exception):
    """A stop signal arrived between two batches; the current computation is incomplete."""


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """Loss and extra metrics per unit of the objective (token, reply, pair)."""

    loss: float
    extra_metrics: Mapping[str, float]


@torch.no_grad()
def evaluate_loss(
    model: LanguageModel,
    dataset: Dataset,
    *,
    size: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    workers: WorkerGroup = SINGLE_PROCESS,
    stop: Callable[[], bool] = lambda: False,
) -> HeldOutLoss | None:
    """Compute the mean loss of a dataset; None if it is empty.

    Args:
        model: the model, switched to evaluation mode.
        dataset: held-out examples; its batches are distributed over the workers.
        size: rows per batch.
        device: device of the model.
        dtype: compute type.
        workers: the processes that train together.
        stop: polled before every batch.

    Raises:
        StopRequested: `stop` returned True.
    """
    if not len(dataset):
        return None
    model.module.eval()
    objective = dataset.objective

    def local_batches() -> Iterator[Batch]:
        return islice(dataset.batches(size), workers.rank, None, workers.world_size)

    padding = [batch.to(device) for batch in _padding_batches(model, dataset, size, workers)]
    statistic = 0.0
    if objective.NEEDS_REFERENCE:
        with autocast(device, dtype):
            local_sums = objective.batch_statistic(model, [batch.to(device) for batch in local_batches()])
            objective.batch_statistic(model, padding)
        statistic = objective.reduce_statistic(*workers.all_reduce_sum(local_sums))
    loss_sum, denominator = 0.0, 0.0
    extra_metrics: dict[str, float] = dict.fromkeys(objective.EXTRA_METRICS, 0.0)
    for batch in local_batches():
        if stop():
            raise StopRequested
        with autocast(device, dtype):
            output = objective.loss(model, batch.to(device), statistic)
        loss_sum += output.loss_sum.item()
        denominator += objective.metric_denominator(batch)
        add_metrics(extra_metrics, output, 1.0)
    for batch in padding:
        with autocast(device, dtype):
            objective.loss(model, batch, statistic)
    reshard(model.module)
    loss_sum, denominator, *values = workers.all_reduce_sum([loss_sum, denominator, *extra_metrics.values()])
    extra_metrics = dict(zip(extra_metrics, values, strict=True))
    return HeldOutLoss(loss_sum / denominator, {name: value / denominator for name, value in extra_metrics.items()})


def _padding_batches(model: LanguageModel, dataset: Dataset, size: int, workers: WorkerGroup) -> list[Batch]:
    """Extra batches whose results are discarded, so that all ranks run the same number of FSDP collectives."""
    if not is_sharded(model.module):
        return []
    rows = dataset.rows()
    remainder = -(-len(rows) // size) % workers.world_size
    return [dataset.batch(rows[:size])] if 0 < remainder <= workers.rank else []


def add_metrics(extra_metrics: dict[str, float], output: LossOutput, denominator: float) -> None:
    """Add the output's extra metrics, divided by `denominator`, to the running sums."""
    for name, value in output.extra_metrics.items():
        extra_metrics[name] = extra_metrics.get(name, 0.0) + value / denominator
