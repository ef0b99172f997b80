"""The loss of a model on held-out data, computed as it is in training."""

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
    """A signal came between two batches; what was being computed is not complete."""


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """The loss per unit of the objective, and what else it watches."""

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
    """The loss on all of a dataset, `size` rows at a time, shared among workers; None without data.

    Raises:
        Stopped: `stop()` between two batches.
    """
    if not len(dataset):
        return None
    model.module.eval()
    objective = dataset.objective

    def ours() -> Iterator[Batch]:
        return islice(dataset.batches(size), workers.rank, None, workers.world_size)

    idle = [batch.to(device) for batch in _idle(model, dataset, size, workers)]
    before = 0.0
    if objective.NEEDS_REFERENCE:
        with autocast(device, dtype):
            counted = objective.batch_statistic(model, [batch.to(device) for batch in ours()])
            objective.batch_statistic(model, idle)
        before = objective.reduce_statistic(*workers.all_reduce_sum(counted))
    summed, reported = 0.0, 0.0
    extra_metrics: dict[str, float] = dict.fromkeys(objective.EXTRA_METRICS, 0.0)
    for batch in ours():
        if stop():
            raise StopRequested
        with autocast(device, dtype):
            outcome = objective.loss(model, batch.to(device), before)
        summed += outcome.summed.item()
        reported += objective.metric_denominator(batch)
        add(extra_metrics, outcome, 1.0)
    for batch in idle:
        with autocast(device, dtype):
            objective.loss(model, batch, before)
    reshard(model.module)
    summed, reported, *values = workers.all_reduce_sum([summed, reported, *extra_metrics.values()])
    extra_metrics = dict(zip(extra_metrics, values, strict=True))
    return HeldOutLoss(summed / reported, {name: value / reported for name, value in extra_metrics.items()})


def _idle(model: LanguageModel, dataset: Dataset, size: int, workers: WorkerGroup) -> list[Batch]:
    """What we compute for nothing, along with workers that have one batch more, where the model is sharded."""
    if not is_sharded(model.module):
        return []
    rows = dataset.rows()
    short = -(-len(rows) // size) % workers.world_size
    return [dataset.batch(rows[:size])] if 0 < short <= workers.rank else []


def add(extra_metrics: dict[str, float], outcome: LossOutput, share: float) -> None:
    """Add an outcome's further figures, divided by `share`."""
    for name, value in outcome.extra_metrics.items():
        extra_metrics[name] = extra_metrics.get(name, 0.0) + value / share
