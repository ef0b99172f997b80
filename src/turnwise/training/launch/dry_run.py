"""A dry run: everything up to the first step, without writing to the output folder."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from turnwise.core.errors import InvalidParameter
from turnwise.training.device import compute_dtype, default_device
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.examples.recipe_sources import with_labels, with_splits
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch.auto_hyperparameters import resolve_hyperparameters
from turnwise.training.launch.preflight import preflight, with_micro_batch_size
from turnwise.training.launch.prepare import load_prepared_base, with_batch_shape
from turnwise.training.launch.self_distill_replay import ReplayTeacher
from turnwise.training.recipe import Recipe

MAX_REPLIES = 64  # replay replies to generate


def dry_run(recipe: Recipe, *, hooks: Sequence[TrainerHook] = (), device: torch.device | None = None) -> None:
    """Load model and data in memory, measure speed and memory, and resolve the recipe.

    Args:
        recipe: the recipe.
        hooks: receive the data and the result of the preflight.
        device: device to train on; None uses a GPU if there is one.

    Raises:
        UserError: the recipe, the model or the data cannot be used.
    """
    start = time.perf_counter()
    recipe = with_labels(with_splits(recipe))
    if not recipe.method.TRAINS_WEIGHTS:
        raise InvalidParameter("dry_run", "A dry run needs a method that trains weights.")
    base, device = load_prepared_base(recipe), device or default_device()
    base.model.module.to(device)
    recipe = with_batch_shape(recipe, base, device)
    teacher = ReplayTeacher(recipe, base, hooks=hooks, max_prompts=MAX_REPLIES)
    data = load_datasets(recipe, base.renderer, base.model, hooks=hooks, teacher=teacher)
    for hook in hooks:
        hook.on_data(data)
    dtype = compute_dtype(recipe.training, device)
    report = preflight(recipe, base.model, data, device=device, dtype=dtype, hooks=hooks)
    with TemporaryDirectory() as folder:
        seconds = time.perf_counter() - start
        resolved = resolve_hyperparameters(recipe, base.model, data, report, Path(folder), seconds)
    resolved = with_micro_batch_size(resolved, report.micro_batch_size)
    for hook in hooks:
        hook.on_preflight(resolved, report)
