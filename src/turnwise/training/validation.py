"""The loss of a model on held-out data, computed as it is in training."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import torch

from turnwise.training.examples.batches import Batch
from turnwise.models.language_model import Model
from turnwise.training.examples.dataset import Dataset
from turnwise.training.objective import Outcome
from turnwise.training.log_probs import computing
from turnwise.training.distributed.sharding import give_back, is_sharded
from turnwise.training.distributed.worker_group import ALONE, Workers


class Stopped(Exception):
    """A signal came between two batches; what was being computed is not complete."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The loss per unit of the objective, and what else it watches."""

    loss: float
    figures: Mapping[str, float]


@torch.no_grad()
def measure(
    model: Model,
    dataset: Dataset,
    *,
    size: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    workers: Workers = ALONE,
    stop: Callable[[], bool] = lambda: False,
) -> Measured | None:
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
    if objective.COMPARES:
        with computing(device, dtype):
            counted = objective.before_step(model, [batch.to(device) for batch in ours()])
            objective.before_step(model, idle)
        before = objective.settled(*workers.all_reduce_sum(counted))
    summed, reported = 0.0, 0.0
    figures: dict[str, float] = dict.fromkeys(objective.FIGURES, 0.0)
    for batch in ours():
        if stop():
            raise Stopped
        with computing(device, dtype):
            outcome = objective.loss(model, batch.to(device), before)
        summed += outcome.summed.item()
        reported += objective.reported(batch)
        add(figures, outcome, 1.0)
    for batch in idle:
        with computing(device, dtype):
            objective.loss(model, batch, before)
    give_back(model.module)
    summed, reported, *values = workers.all_reduce_sum([summed, reported, *figures.values()])
    figures = dict(zip(figures, values, strict=True))
    return Measured(summed / reported, {name: value / reported for name, value in figures.items()})


def _idle(model: Model, dataset: Dataset, size: int, workers: Workers) -> list[Batch]:
    """What we compute for nothing, along with workers that have one batch more, where the model is sharded."""
    if not is_sharded(model.module):
        return []
    rows = dataset.rows()
    short = -(-len(rows) // size) % workers.world_size
    return [dataset.batch(rows[:size])] if 0 < short <= workers.rank else []


def add(figures: dict[str, float], outcome: Outcome, share: float) -> None:
    """Add an outcome's further figures, divided by `share`."""
    for name, value in outcome.figures.items():
        figures[name] = figures.get(name, 0.0) + value / share
