"""A whole run: recipe in, model folder out.

While it works everything is in `OUT.partial`; `OUT` appears only when it is complete. A run that was killed goes on
from `OUT.partial` when the same recipe is run again.
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

DATA = "data"  # the folder that keeps examples
LOCK_WAIT_SECONDS = 30.0  # seconds in which a lost worker frees the folder for the one that takes its place
MAX_DRY_RUN_ANSWERS = 64  # answers to rehearse, where a run is only looked at
LEFT = (BEST, ROLLBACK, watch.TENSORBOARD_DIR)


class DryRunComplete(Exception):
    """A run that was only to be looked at has been."""


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
    """Train as the recipe says and write the model folder.

    Args:
        recipe: what to do.
        overwrite: replace `out` where it exists, once the new model is complete.
        restart: throw an unfinished run away instead of going on with it.
        hooks: watchers beside the metrics file and TensorBoard.
        on_data: called once the data is loaded.
        on_item: called for every conversation read.
        on_answer: called for every answer that is to be rehearsed, with how many there are and will be.
        on_preflight: called with the recipe, everything settled, and what is known before the first step.
        dry_run: end there.
        on_tried: called with the number and the loss of every prompt that is tried, where no weight learns.
        device: where to train; None is the GPU where there is one.
        stop: asked after every step, by every worker: whether to leave a checkpoint and end, as Ctrl-C does.

    Raises:
        UserError: a recipe, model or data file that cannot work.
        SaveFailed: the disk refused.
        TurnwiseError: the loss is no longer a number.
        DryRun: that was all.
    """
    began = time.perf_counter()
    workers, recipe = WorkerGroup.from_environment(), with_splits(recipe)
    if dry_run:
        _look(recipe, on_item, on_answer, on_data, on_preflight, device)
        raise DryRunComplete
    work = check_run_dir(recipe, overwrite=overwrite, restart=restart)
    with lock_run_dir(work, LOCK_WAIT_SECONDS if workers.world_size > 1 else 0.0) if workers.is_main else nullcontext():
        check_run_dir(recipe, overwrite=overwrite, restart=restart)  # another run may have ended since
        if isinstance(recipe.method, Prompt):
            return run_prompt_search(
                recipe, recipe.method, overwrite=overwrite, on_item=on_item, on_tried=on_tried, device=device
            )
        return _train(
            recipe, work, workers, began, restart=restart, hooks=hooks, on_data=on_data, on_item=on_item,
            on_answer=on_answer, on_preflight=on_preflight, device=device, stop=stop,
        )  # fmt: skip


def _train(
    recipe: Recipe,
    work: Path,
    workers: WorkerGroup,
    began: float,
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
    renderer, given = base.renderer, recipe.dump()  # checkpoints keep it as it was given
    place = device or workers.device or default_device()
    recipe = _with_rows(recipe, base, place)
    begun = read_checkpoint_recipe(work) is not None and not restart
    workers.barrier()  # nobody changes anything before all have looked
    try:
        if recipe.data.rehearse and workers.is_main and not recipe.training.shard:
            base.model.module.to(place)  # where it is quickest to ask
        data = _data(recipe, base, work, begun, restart, on_item, on_answer, workers)
        on_data(data)
        if not begun and workers.is_main:  # what a run left before its first checkpoint is of no use
            for name in (*LEFT, *((CHECKPOINT,) if restart else ())):
                shutil.rmtree(work / name, ignore_errors=True)
        if recipe.training.shard and workers.world_size > 1:
            shard_model(base.model.module, workers, place)
        if not begun or (recipe.training.minutes is not None and not (work / PLAN).is_file()):
            if workers.is_main:
                (work / PLAN).unlink(missing_ok=True)
            first = preflight(recipe, base.model, data, device=place, dtype=compute_dtype(recipe.training, place))
            first = replace(first, tokens_per_second=workers.all_reduce_sum([first.tokens_per_second])[0])
            if workers.is_main:
                resolve_hyperparameters(recipe, base.model, data, first, work, time.perf_counter() - began)
            workers.barrier()
            settled = with_micro_batch_size(
                resolve_hyperparameters(recipe, base.model, data, first, work), first.micro_rows
            )
            on_preflight(settled, first)
        else:
            settled = resolve_hyperparameters(recipe, base.model, data, None, work)
        trainer = Trainer(
            settled,
            base.model,
            data,
            work=work,
            hooks=[watch.MetricsFileHook(work), watch.TensorBoardHook(work), *hooks] if workers.is_main else [],
            device=place,
            recipe_text=given,
            workers=workers,
            stop=stop,
        )
        if trainer.state.step == 0 and workers.is_main and not is_sharded(trainer.module):
            save_samples_before(work, generate_replies(recipe.method.plain(trainer.model), renderer, data.samples))
        result = trainer.run()
        learned = gather_trainable(trainer.module, keep=workers.is_main) if is_sharded(trainer.module) else None
        if not workers.is_main:
            workers.barrier()
            return result
        if learned is not None:  # this worker has no whole model to save: it takes another one
            base = recipe.method.prepare(load_base_model(recipe), recipe.training.seed)
            save_samples_before(work, generate_replies(recipe.method.plain(base.model), renderer, data.samples))
            load_trainable(base.model.module, learned)
        asked_at = time.perf_counter()
        after = generate_replies(recipe.method.plain(base.model), renderer, data.samples)
        seconds = (time.perf_counter() - asked_at) / len(after) if after else None
        samples = pair_samples(work, data.samples, after)
        result = replace(result, samples=samples, answer_seconds=seconds)
        title, unit = output_dir(recipe).name, recipe.objective.UNIT
        watch.plot_loss(work / watch.METRICS_FILE, work / "loss.png", title=title, unit=unit)
        result = write_run_results(settled, base, result, data, work)
        workers.barrier()
    except OSError as error:
        raise SaveFailed(
            f"Could not write in {work}: {error.strerror or error}. Mend that and run the same command again: it goes "
            "on from the last checkpoint."
        ) from error
    shutil.rmtree(work, ignore_errors=True)
    return result


def _look(
    recipe: Recipe,
    on_item: Callable[[], None],
    on_answer: OnAnswer,
    on_data: Callable[[DatasetSplits], None],
    on_preflight: Callable[[Recipe, PreflightReport], None],
    device: torch.device | None,
) -> None:
    """Everything up to the first step, in memory and a folder of its own."""
    began = time.perf_counter()
    if not recipe.method.TRAINS_WEIGHTS:
        raise InvalidParameter("dry_run", "Where no weight learns there is nothing to look at beforehand.")
    base, place = recipe.method.prepare(load_base_model(recipe), recipe.training.seed), device or default_device()
    base.model.module.to(place)
    recipe = _with_rows(recipe, base, place)
    rehearses = partial(generate_replay, recipe, base, on_answer=on_answer, most=MAX_DRY_RUN_ANSWERS)
    data = load_datasets(recipe, base.renderer, base.model, on_item=on_item, rehearses=rehearses)
    on_data(data)
    seen = preflight(recipe, base.model, data, device=place, dtype=compute_dtype(recipe.training, place))
    with TemporaryDirectory() as folder:
        settled = resolve_hyperparameters(recipe, base.model, data, seen, Path(folder), time.perf_counter() - began)
        on_preflight(with_micro_batch_size(settled, seen.micro_rows), seen)


def _with_rows(recipe: Recipe, base: ModelBundle, device: torch.device) -> Recipe:
    """The recipe with the length of a row settled, and how many are computed at a time."""
    asked = recipe.training.model_fields_set
    settled = with_max_seq_len(recipe, base.renderer, base.model)
    return settled if "micro_rows" in asked else with_fitting_micro_rows(settled, base.model, device)


def _data(
    recipe: Recipe,
    base: ModelBundle,
    work: Path,
    begun: bool,
    restart: bool,
    on_item: Callable[[], None],
    on_answer: OnAnswer,
    workers: WorkerGroup,
) -> DatasetSplits:
    """The examples; of data that is refused nothing is left. The first worker makes them, the others open them."""
    if not workers.is_main:
        workers.barrier()
        return load_datasets(recipe, base.renderer, base.model, folder=work / DATA, again=True)
    try:
        rehearses = partial(generate_replay, recipe, base, on_answer=on_answer)
        found = load_datasets(
            recipe,
            base.renderer,
            base.model,
            folder=work / DATA,
            on_item=on_item,
            rehearses=rehearses,
            again=not restart,
        )
    except BaseException:
        if not begun:
            shutil.rmtree(work / DATA, ignore_errors=True)
        raise
    workers.barrier()
    return found
