"""Prepares a run: loads the model and the data, resolves all settings, and returns the plan."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from turnwise.models.classifier import Classifier
from turnwise.training.checkpoint_files import BEST, CHECKPOINT, ROLLBACK, read_checkpoint_recipe
from turnwise.training.device import compute_dtype, default_device
from turnwise.training.distributed.sharding import is_sharded, shard_model
from turnwise.training.distributed.worker_group import SINGLE_PROCESS, WorkerGroup
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch.auto_hyperparameters import HYPERPARAMETERS_FILE, resolve_hyperparameters
from turnwise.training.launch.auto_micro_batch_size import with_auto_micro_batch_size
from turnwise.training.launch.auto_seq_len import with_max_seq_len
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.preflight import preflight, with_micro_batch_size
from turnwise.training.launch.reply_samples import generate_replies, save_samples_before
from turnwise.training.launch.self_distill_replay import ReplayTeacher
from turnwise.training.loggers import TENSORBOARD_DIR
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.plan import TrainingPlan, make_plan
from turnwise.training.recipe import Recipe

DATA = "data"  # folder of the cached examples
LEFTOVERS = (BEST, ROLLBACK, TENSORBOARD_DIR)  # of a run that ended before its first checkpoint


def prepare(
    recipe: Recipe,
    work: Path,
    *,
    workers: WorkerGroup = SINGLE_PROCESS,
    restart: bool = False,
    device: torch.device | None = None,
    hooks: Sequence[TrainerHook] = (),
) -> TrainingPlan:
    """Do everything before the first step, and resolve the recipe. A collective operation: all workers must call it.

    Args:
        recipe: the recipe as given; its sources have a split (`with_splits`).
        work: folder of the run's files. If it holds a checkpoint, the run is resumed.
        workers: the processes that train together.
        restart: discard an unfinished run instead of resuming it.
        device: device to train on; None uses a GPU if there is one.
        hooks: receive the events before training.

    Raises:
        UserError: the recipe, the model or the data cannot be used.
    """
    start = time.perf_counter()
    base = load_prepared_base(recipe)
    given_recipe = recipe.dump()
    device = device or workers.device or default_device()
    recipe = with_batch_shape(recipe, base, device)
    is_resumed = read_checkpoint_recipe(work) is not None and not restart
    workers.barrier()  # no worker may write before all have looked for a checkpoint
    if recipe.data.replay_ratio and workers.is_main and not recipe.training.fsdp:
        base.model.module.to(device)  # generating replay is fastest there
    if isinstance(base.model, Classifier):
        base.model.config = replace(base.model.config, max_tokens=recipe.training.max_seq_len)
    data = _load_data(recipe, base, work, workers, is_resumed=is_resumed, restart=restart, hooks=hooks)
    for hook in hooks:
        hook.on_data(data)
    if not is_resumed and workers.is_main:
        for name in (*LEFTOVERS, *((CHECKPOINT,) if restart else ())):
            shutil.rmtree(work / name, ignore_errors=True)
    if recipe.training.fsdp and workers.world_size > 1:
        shard_model(base.model.module, workers, device)
    if is_resumed and (recipe.training.time_budget is None or (work / HYPERPARAMETERS_FILE).is_file()):
        recipe = resolve_hyperparameters(recipe, base.model, data, None, work)
    else:
        recipe = _measure_and_resolve(recipe, base, data, work, workers, device, hooks, start)
    plan = make_plan(recipe, base, data, work=work, device=device, given_recipe=given_recipe, workers=workers)
    if not is_resumed and workers.is_main and not is_sharded(base.model.module):
        replies = generate_replies(recipe.method.plain(base.model), base.renderer, data.sample_dialogues)
        save_samples_before(work, replies)
    return plan


def load_prepared_base(recipe: Recipe) -> ModelBundle:
    """Load or create the base model and prepare it for the recipe's method."""
    seed = recipe.training.seed
    return recipe.method.prepare(recipe.objective.add_head(load_base_model(recipe), seed), seed)


def with_batch_shape(recipe: Recipe, base: ModelBundle, device: torch.device) -> Recipe:
    """Return the recipe with sequence length and micro-batch size."""
    has_micro_batch_size = "micro_batch_size" in recipe.training.model_fields_set
    recipe = with_max_seq_len(recipe, base.renderer, base.model)
    return recipe if has_micro_batch_size else with_auto_micro_batch_size(recipe, base.model, device)


def _load_data(
    recipe: Recipe,
    base: ModelBundle,
    work: Path,
    workers: WorkerGroup,
    *,
    is_resumed: bool,
    restart: bool,
    hooks: Sequence[TrainerHook],
) -> DatasetSplits:
    """Load the examples: the main worker builds them, the others open its files. After an error none remain."""
    if not workers.is_main:
        workers.barrier()
        return load_datasets(recipe, base.renderer, base.model, folder=work / DATA, reuse_cache=True)
    try:
        data = load_datasets(
            recipe,
            base.renderer,
            base.model,
            folder=work / DATA,
            hooks=hooks,
            teacher=ReplayTeacher(recipe, base, hooks=hooks),
            reuse_cache=not restart,
        )
    except BaseException:
        if not is_resumed:
            shutil.rmtree(work / DATA, ignore_errors=True)
        raise
    workers.barrier()
    return data


def _measure_and_resolve(
    recipe: Recipe,
    base: ModelBundle,
    data: DatasetSplits,
    work: Path,
    workers: WorkerGroup,
    device: torch.device,
    hooks: Sequence[TrainerHook],
    start: float,
) -> Recipe:
    """Measure speed and memory, and return the recipe with all hyperparameters."""
    if workers.is_main:
        (work / HYPERPARAMETERS_FILE).unlink(missing_ok=True)
    dtype = compute_dtype(recipe.training, device)
    report = preflight(recipe, base.model, data, device=device, dtype=dtype, hooks=hooks)
    report = replace(report, tokens_per_second=workers.all_reduce_sum([report.tokens_per_second])[0])
    if workers.is_main:  # stores the hyperparameters, which the other workers read after the barrier
        resolve_hyperparameters(recipe, base.model, data, report, work, time.perf_counter() - start)
    workers.barrier()
    resolved = resolve_hyperparameters(recipe, base.model, data, report, work)
    resolved = with_micro_batch_size(resolved, report.micro_batch_size)
    for hook in hooks:
        hook.on_preflight(resolved, report)
    return resolved
