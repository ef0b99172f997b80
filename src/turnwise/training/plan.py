"""The plan of a run: base model, data, device and all settings, resolved once before training."""

from dataclasses import dataclass
from pathlib import Path

import torch

from turnwise.core.errors import InvalidParameter
from turnwise.training.device import compute_dtype
from turnwise.training.distributed.worker_group import SINGLE_PROCESS, WorkerGroup
from turnwise.training.examples.dataset import Dataset, DatasetSplits
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.recipe import Recipe
from turnwise.training.recipe_sections import TrainingSection

MIN_EVAL_STEPS = 10  # between validations, if the recipe does not set it
VALIDATIONS = 20  # per run, if the recipe does not set it
MIN_VALIDATIONS = 4  # per run of a classifier


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that training needs. Nothing in it changes during the run, except the weights of the model.

    Attributes:
        recipe: the recipe with every setting resolved.
        given_recipe: YAML of the recipe before it was resolved. Checkpoints store it, and a run is resumed only with
            the same one.
        base: the model to train, prepared by the method; parameters without gradient stay as they are.
        data: tokenized examples of all splits.
        work: folder of checkpoints, snapshots and logs.
        device: where to train.
        dtype: type of forward and backward passes.
        workers: the processes that train together.
        total_steps: optimizer steps of the run, unless it stops early.
        warmup_steps: steps of linear learning-rate warmup.
        eval_steps: steps between validations.
    """

    recipe: Recipe
    given_recipe: str
    base: ModelBundle
    data: DatasetSplits
    work: Path
    device: torch.device
    dtype: torch.dtype
    workers: WorkerGroup
    total_steps: int
    warmup_steps: int
    eval_steps: int


def make_plan(
    recipe: Recipe,
    base: ModelBundle,
    data: DatasetSplits,
    *,
    work: Path,
    device: torch.device | None = None,
    given_recipe: str | None = None,
    workers: WorkerGroup = SINGLE_PROCESS,
) -> TrainingPlan:
    """Compute the steps of a run and check that its settings can be combined.

    Args:
        recipe: recipe with every setting resolved.
        base: the model to train, prepared by the recipe's method.
        data: tokenized examples of all splits.
        work: folder of checkpoints, snapshots and logs.
        device: where to train; default: where the model is.
        given_recipe: YAML of the recipe before it was resolved; default: `recipe.dump()`.
        workers: the processes that train together.

    Raises:
        InvalidParameter: settings that cannot be combined.
    """
    settings = recipe.training
    _check_combinations(recipe, data, workers)
    device = device or next(base.model.module.parameters()).device
    total = count_steps(data.train, settings)
    return TrainingPlan(
        recipe=recipe,
        given_recipe=given_recipe or recipe.dump(),
        base=base,
        data=data,
        work=work,
        device=device,
        dtype=compute_dtype(settings, device),
        workers=workers,
        total_steps=total,
        warmup_steps=max(1, round(total * settings.warmup_ratio)),
        eval_steps=settings.eval_steps or _default_eval_steps(recipe, data, total),
    )


def count_steps(dataset: Dataset, settings: TrainingSection) -> int:
    """Number of optimizer steps of a run."""
    if settings.max_steps is not None:
        return settings.max_steps
    return max(1, round(len(dataset.rows()) * settings.epochs / settings.batch_size))


def _default_eval_steps(recipe: Recipe, data: DatasetSplits, total: int) -> int:
    """A twentieth of the run; an epoch of a classifier, whose runs are short beside its held-out data."""
    steps = total // VALIDATIONS
    if recipe.objective.READS_ANNOTATIONS:
        steps = min(round(len(data.train.rows()) / recipe.training.batch_size), total // MIN_VALIDATIONS)
    return max(MIN_EVAL_STEPS, steps)


def _check_combinations(recipe: Recipe, data: DatasetSplits, workers: WorkerGroup) -> None:
    settings = recipe.training
    if settings.batch_size < workers.world_size:
        raise InvalidParameter(
            "training.batch_size",
            f"'batch_size' is {settings.batch_size}, but {workers.world_size} workers need at least one sequence each.",
        )
    if settings.time_budget is not None and recipe.objective.samples_replies:
        raise InvalidParameter(
            "training.time_budget",
            "'time_budget' does not count the time to sample replies, which this objective does in every step. Set "
            "'epochs' or 'max_steps'.",
        )
    if settings.interpolate and not len(data.valid):
        raise InvalidParameter(
            "training.interpolate", "'interpolate' needs validation data. Set 'data.valid' or 'data.valid_fraction'."
        )
    if settings.interpolate and not recipe.method.INTERPOLATABLE:
        raise InvalidParameter("training.interpolate", "'interpolate' needs full weights; it cannot be used with LoRA.")
