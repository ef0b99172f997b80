"""A complete run: from a recipe to a model folder.

Files of an unfinished run are in `OUT.partial`; `OUT` appears only when it is complete. Running the same recipe again
continues an interrupted run.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from turnwise.core.errors import InvalidParameter, SaveFailed
from turnwise.training import loggers as watch
from turnwise.training.checkpoint_files import (
    BEST,
    CHECKPOINT,
    ROLLBACK,
    gather_trainable,
    load_trainable,
    read_checkpoint_recipe,
)
from turnwise.training.device import compute_dtype, default_device
from turnwise.training.distributed.sharding import is_sharded, shard_model
from turnwise.training.distributed.worker_group import WorkerGroup
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.examples.recipe_sources import with_splits
from turnwise.training.hooks import TrainerHook, TrainingResult
from turnwise.training.launch.auto_hyperparameters import PLAN, resolve_hyperparameters
from turnwise.training.launch.auto_seq_len import with_max_seq_len
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.finish_run import write_run_results
from turnwise.training.launch.preflight import PreflightReport, preflight, with_micro_batch_size
from turnwise.training.launch.prompt_search import run_prompt_search
from turnwise.training.launch.reply_samples import generate_replies, pair_samples, save_samples_before
from turnwise.training.launch.run_dir import check_run_dir, lock_run_dir, output_dir
from turnwise.training.launch.self_distill_replay import OnAnswer, generate_replay
from turnwise.training.methods.prompt import Method as Prompt
from turnwise.training.micro_rows import with_fitting_micro_rows
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.recipe import Recipe
from turnwise.training.trainer import Trainer

DATA = "data"  # folder of the cached examples
LOCK_WAIT_SECONDS = 30.0  # a replaced worker may hold the lock of the run folder that long
MAX_DRY_RUN_ANSWERS = 64  # replay replies to generate in a dry run
TEMPORARY = (BEST, ROLLBACK, watch.TENSORBOARD_DIR)


class DryRunComplete(Exception):
    """A dry run is complete."""


def run_recipe(
    recipe: Recipe,
    *,
    overwrite: bool = False,
    restart: bool = False,
    hooks: Sequence[TrainerHook] = (),
    on_data: Callable[[DatasetSplits], None] = lambda _: None,
    on_item: Callable[[], None] = lambda: None,
    on_answer: OnAnswer = lambda *_: None,
    on_tried: Callable[[int, float], None] = lambda *_: None,
    on_preflight: Callable[[Recipe, PreflightReport], None] = lambda *_: None,
    dry_run: bool = False,
    device: torch.device | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train by a recipe and write the model folder.

    Args:
        recipe: the recipe.
        overwrite: replace an existing output folder, once the new model is complete.
        restart: discard an unfinished run instead of continuing it.
        hooks: receive progress reports, besides the metrics file and TensorBoard.
        on_data: called with the loaded data.
        on_item: called after every row of data.
        on_answer: called with the number of generated replay replies and their total.
        on_tried: called with the number and loss of every prompt candidate (method `prompt`).
        on_preflight: called before the first step with the complete recipe and the preflight report.
        dry_run: stop after the preflight.
        device: device to train on; None uses a GPU if there is one.
        stop: polled after every step by every worker; True writes a checkpoint and ends the run, as Ctrl-C does.

    Raises:
        UserError: the recipe, the model or the data cannot be used.
        SaveFailed: the disk is full or not writable.
        TrainingInterrupted: a signal or `stop` ended the run; the same call continues it.
        TurnwiseError: training diverged.
        DryRunComplete: the dry run is complete.
    """
    start = time.perf_counter()
    workers, recipe = WorkerGroup.from_environment(), with_splits(recipe)
    if dry_run:
        _dry_run(recipe, on_item, on_answer, on_data, on_preflight, device)
        raise DryRunComplete
    work = check_run_dir(recipe, overwrite=overwrite, restart=restart)
    with lock_run_dir(work, LOCK_WAIT_SECONDS if workers.world_size > 1 else 0.0) if workers.is_main else nullcontext():
        check_run_dir(
            recipe, overwrite=overwrite, restart=restart
        )  # another run may have finished while this one waited
        if isinstance(recipe.method, Prompt):
            return run_prompt_search(
                recipe, recipe.method, overwrite=overwrite, on_item=on_item, on_tried=on_tried, device=device
            )
        return _train(
            recipe, work, workers, start, restart=restart, hooks=hooks, on_data=on_data, on_item=on_item,
            on_answer=on_answer, on_preflight=on_preflight, device=device, stop=stop,
        )  # fmt: skip


def _train(
    recipe: Recipe,
    work: Path,
    workers: WorkerGroup,
    start: float,
    *,
    restart: bool,
    hooks: Sequence[TrainerHook],
    on_data: Callable[[DatasetSplits], None],
    on_item: Callable[[], None],
    on_answer: OnAnswer,
    on_preflight: Callable[[Recipe, PreflightReport], None],
    device: torch.device | None,
    stop: Callable[[], bool],
) -> TrainingResult:
    base = recipe.method.prepare(load_base_model(recipe), recipe.training.seed)
    recipe_text = recipe.dump()  # checkpoints store the recipe as given, to compare it when the run is resumed
    device = device or workers.device or default_device()
    recipe = _with_batch_shape(recipe, base, device)
    is_resumed = read_checkpoint_recipe(work) is not None and not restart
    workers.barrier()  # no worker may write before all have looked for a checkpoint
    try:
        if recipe.data.rehearse and workers.is_main and not recipe.training.shard:
            base.model.module.to(device)  # generating replay is fastest there
        data = _load_data(recipe, base, work, is_resumed, restart, on_item, on_answer, workers)
        on_data(data)
        if not is_resumed and workers.is_main:  # files of a run that ended before its first checkpoint
            for name in (*TEMPORARY, *((CHECKPOINT,) if restart else ())):
                shutil.rmtree(work / name, ignore_errors=True)
        if recipe.training.shard and workers.world_size > 1:
            shard_model(base.model.module, workers, device)
        recipe = _resolve(recipe, base, data, work, workers, start, is_resumed, device, on_preflight)
        trainer = Trainer(
            recipe,
            base.model,
            data,
            work=work,
            hooks=[watch.MetricsFileHook(work), watch.TensorBoardHook(work), *hooks] if workers.is_main else [],
            device=device,
            recipe_text=recipe_text,
            workers=workers,
            stop=stop,
        )
        if trainer.state.step == 0 and workers.is_main and not is_sharded(trainer.module):
            save_samples_before(work, generate_replies(recipe.method.plain(trainer.model), base.renderer, data.samples))
        result = trainer.run()
        weights = gather_trainable(trainer.module, keep=workers.is_main) if is_sharded(trainer.module) else None
        if not workers.is_main:
            workers.barrier()
            return result
        if weights is not None:  # a sharded model cannot be saved or sampled: load the weights into a new one
            base = recipe.method.prepare(load_base_model(recipe), recipe.training.seed)
            save_samples_before(work, generate_replies(recipe.method.plain(base.model), base.renderer, data.samples))
            load_trainable(base.model.module, weights)
        result = _export(recipe, base, data, work, result)
        workers.barrier()
    except OSError as error:
        raise SaveFailed(
            f"Could not write in {work}: {error.strerror or error}. Fix that and run the same command again: it "
            "continues from the last checkpoint."
        ) from error
    shutil.rmtree(work, ignore_errors=True)
    return result


def _resolve(
    recipe: Recipe,
    base: ModelBundle,
    data: DatasetSplits,
    work: Path,
    workers: WorkerGroup,
    start: float,
    is_resumed: bool,
    device: torch.device,
    on_preflight: Callable[[Recipe, PreflightReport], None],
) -> Recipe:
    """Return the recipe with all hyperparameters; a new run measures speed and memory first."""
    if is_resumed and (recipe.training.minutes is None or (work / PLAN).is_file()):
        return resolve_hyperparameters(recipe, base.model, data, None, work)
    if workers.is_main:
        (work / PLAN).unlink(missing_ok=True)
    report = preflight(recipe, base.model, data, device=device, dtype=compute_dtype(recipe.training, device))
    report = replace(report, tokens_per_second=workers.all_reduce_sum([report.tokens_per_second])[0])
    if workers.is_main:  # writes the plan, which the other workers read after the barrier
        resolve_hyperparameters(recipe, base.model, data, report, work, time.perf_counter() - start)
    workers.barrier()
    resolved = resolve_hyperparameters(recipe, base.model, data, report, work)
    resolved = with_micro_batch_size(resolved, report.micro_rows)
    on_preflight(resolved, report)
    return resolved


def _export(
    recipe: Recipe, base: ModelBundle, data: DatasetSplits, work: Path, result: TrainingResult
) -> TrainingResult:
    """Generate the replies after training, plot the loss and write the model folder."""
    start = time.perf_counter()
    after = generate_replies(recipe.method.plain(base.model), base.renderer, data.samples)
    seconds = (time.perf_counter() - start) / len(after) if after else None
    result = replace(result, samples=pair_samples(work, data.samples, after), answer_seconds=seconds)
    title, unit = output_dir(recipe).name, recipe.objective.UNIT
    watch.plot_loss(work / watch.METRICS_FILE, work / "loss.png", title=title, unit=unit)
    return write_run_results(recipe, base, result, data, work)


def _dry_run(
    recipe: Recipe,
    on_item: Callable[[], None],
    on_answer: OnAnswer,
    on_data: Callable[[DatasetSplits], None],
    on_preflight: Callable[[Recipe, PreflightReport], None],
    device: torch.device | None,
) -> None:
    """Do everything up to the first step in memory and in a temporary folder."""
    start = time.perf_counter()
    if not recipe.method.TRAINS_WEIGHTS:
        raise InvalidParameter("dry_run", "A dry run needs a method that trains weights.")
    base, device = recipe.method.prepare(load_base_model(recipe), recipe.training.seed), device or default_device()
    base.model.module.to(device)
    recipe = _with_batch_shape(recipe, base, device)
    rehearses = partial(generate_replay, recipe, base, on_answer=on_answer, most=MAX_DRY_RUN_ANSWERS)
    data = load_datasets(recipe, base.renderer, base.model, on_item=on_item, rehearses=rehearses)
    on_data(data)
    report = preflight(recipe, base.model, data, device=device, dtype=compute_dtype(recipe.training, device))
    with TemporaryDirectory() as folder:
        seconds = time.perf_counter() - start
        resolved = resolve_hyperparameters(recipe, base.model, data, report, Path(folder), seconds)
        on_preflight(with_micro_batch_size(resolved, report.micro_rows), report)


def _with_batch_shape(recipe: Recipe, base: ModelBundle, device: torch.device) -> Recipe:
    """Return the recipe with sequence length and micro-batch size."""
    fields_set = recipe.training.model_fields_set
    resolved = with_max_seq_len(recipe, base.renderer, base.model)
    return resolved if "micro_rows" in fields_set else with_fitting_micro_rows(resolved, base.model, device)


def _load_data(
    recipe: Recipe,
    base: ModelBundle,
    work: Path,
    is_resumed: bool,
    restart: bool,
    on_item: Callable[[], None],
    on_answer: OnAnswer,
    workers: WorkerGroup,
) -> DatasetSplits:
    """Load the examples: the main worker builds them, the others open its files. After an error none remain."""
    if not workers.is_main:
        workers.barrier()
        return load_datasets(recipe, base.renderer, base.model, folder=work / DATA, again=True)
    try:
        data = load_datasets(
            recipe,
            base.renderer,
            base.model,
            folder=work / DATA,
            on_item=on_item,
            rehearses=partial(generate_replay, recipe, base, on_answer=on_answer),
            again=not restart,
        )
    except BaseException:
        if not is_resumed:
            shutil.rmtree(work / DATA, ignore_errors=True)
        raise
    workers.barrier()
    return data
