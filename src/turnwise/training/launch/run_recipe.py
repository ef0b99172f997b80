"""A complete run: from a recipe to a model folder.

Files of an unfinished run are in `OUT.partial`; `OUT` appears only when it is complete. Running the same recipe again
continues an interrupted run.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from turnwise.core.errors import SaveFailed
from turnwise.core.system_memory import keep_freed_memory
from turnwise.training.distributed.worker_group import WorkerGroup
from turnwise.training.examples.recipe_sources import with_labels, with_splits
from turnwise.training.hooks import TrainerHook, TrainingResult
from turnwise.training.launch.export_run import export
from turnwise.training.launch.prepare import prepare
from turnwise.training.launch.prompt_search import run_prompt_search
from turnwise.training.launch.run_dir import open_run_dir
from turnwise.training.loggers import MetricsFileHook, TensorBoardHook
from turnwise.training.methods.prompt import PromptMethod
from turnwise.training.recipe import Recipe
from turnwise.training.trainer import Trainer


def run_recipe(
    recipe: Recipe,
    *,
    overwrite: bool = False,
    restart: bool = False,
    hooks: Sequence[TrainerHook] = (),
    device: torch.device | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train by a recipe and write the model folder.

    Args:
        recipe: the recipe.
        overwrite: replace an existing output folder, once the new model is complete.
        restart: discard an unfinished run instead of resuming it.
        hooks: receive the events of the run, besides the metrics file and TensorBoard.
        device: device to train on; None uses a GPU if there is one.
        stop: polled after every step by every worker; True writes a checkpoint and ends the run, as Ctrl-C does.

    Raises:
        UserError: the recipe, the model or the data cannot be used.
        SaveFailed: the disk is full or not writable.
        TrainingInterrupted: a signal or `stop` ended the run; the same call continues it.
        TurnwiseError: training diverged.
    """
    keep_freed_memory()
    workers, recipe = WorkerGroup.from_environment(), with_labels(with_splits(recipe))
    hooks = hooks if workers.is_main else ()
    with open_run_dir(recipe, workers, overwrite=overwrite, restart=restart) as work:
        if isinstance(recipe.method, PromptMethod):
            return run_prompt_search(recipe, recipe.method, work, hooks=hooks, device=device)
        with _explain_disk_errors(work):
            plan = prepare(recipe, work, workers=workers, restart=restart, device=device, hooks=hooks)
            for hook in hooks:
                hook.on_plan(plan)
            loggers = [MetricsFileHook(work), TensorBoardHook(work)] if workers.is_main else []
            result = Trainer(plan, [*loggers, *hooks], stop=stop).run()
            result = export(plan, result)
        if workers.is_main:
            shutil.rmtree(work, ignore_errors=True)
        return result


@contextmanager
def _explain_disk_errors(work: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is not None and not Path(os.fsdecode(error.filename)).is_relative_to(work):
            raise  # for example a file of the base model that cannot be read
        raise SaveFailed(
            f"Could not write in {work}: {error.strerror or error}. Fix that and run the same command again: it "
            "continues from the last checkpoint."
        ) from error
