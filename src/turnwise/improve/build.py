"""Trains a version from its training data. Equal data gives equal bytes on the same machine and version of PyTorch."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from turnwise.app.model_names import resolve_model_folder
from turnwise.app.scope_files import write_scope
from turnwise.core.errors import InvalidData
from turnwise.improve.training_data import REPLAY_FILE, StageName, TrainingPlan, read_plan, stage_file
from turnwise.improve.training_scope import training_scope
from turnwise.models.model_folders import weights_digest
from turnwise.models.weight_interpolation import interpolate_folders
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch.run_dir import work_dir
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import Recipe, parse_recipe

OBJECTIVES: dict[StageName, str] = {"corrections": "sft", "preferences": "dpo", "ratings": "kto"}


def build_model(
    data: Path, out: Path, *, hooks: Sequence[TrainerHook] = (), stop: Callable[[], bool] = lambda: False
) -> None:
    """Run all stages, and write the scope. A complete stage is not run again, and an interrupted one continues.

    Args:
        data: folder of the training data.
        out: folder of the model; those of earlier stages are beside it until it is complete.
        hooks: receive the events of the runs.
        stop: polled after every step; True writes a checkpoint and raises `TrainingInterrupted`.

    Raises:
        InvalidData: the base model has changed.
        UserError, SaveFailed, TrainingInterrupted: as `run_recipe` does.
    """
    plan = read_plan(data)
    base = resolve_model_folder(plan.base)
    if weights_digest(base) != plan.base_sha256:
        raise InvalidData(f"The weights of {plan.base} are not those that the training data was made for.")
    folders = stage_folders(plan, out)
    source = str(base)
    for stage, folder in zip(plan.stages, folders, strict=True):
        if not folder.is_dir() and not out.is_dir():
            run_recipe(stage_recipe(plan, stage, source, data, folder), hooks=hooks, stop=stop)
        source = str(folder)
    if plan.has_scope:
        write_scope(out, training_scope(data, plan))
    for folder in folders:  # also what a process has left that was killed after the last stage
        shutil.rmtree(work_dir(folder), ignore_errors=True)
        if folder != out:
            shutil.rmtree(folder, ignore_errors=True)


def interpolate_model(data: Path, trained: Path, alpha: float, out: Path) -> Path:
    """Return the folder of the model at the share `alpha` of the way from the base, which is `trained` for 1."""
    if alpha == 1:
        return trained
    if not out.is_dir():
        interpolate_folders(resolve_model_folder(read_plan(data).base), trained, alpha, out)
    return out


def stage_folders(plan: TrainingPlan, out: Path) -> list[Path]:
    """Folders of the models of all stages; the last one is `out`."""
    return [*(out.with_name(f"{out.name}-{stage}") for stage in plan.stages[:-1]), out]


def stage_recipe(plan: TrainingPlan, stage: StageName, source: str, data: Path, out: Path) -> Recipe:
    """The recipe of a stage that starts from the model folder `source`."""
    tuning, is_sft = plan.tuning, stage == "corrections"
    sources: dict[str, Any] = {"train": str(data / stage_file(stage)), "valid_fraction": 0.0}
    if is_sft and (data / REPLAY_FILE).is_file():
        sources |= {
            "replay_ratio": tuning.replay_ratio,
            "replay_replies": str(data / REPLAY_FILE),
            "replay_targets": "distribution",
        }
    method: dict[str, Any] = {"name": tuning.method}
    if tuning.method == "lora":
        method["rank"] = tuning.rank
    values = {
        "objective": OBJECTIVES[stage],
        "method": method,
        "model": {"from": source},
        "data": sources,
        "training": {
            "epochs": tuning.passes if is_sft else tuning.preference_passes,
            "learning_rate": tuning.learning_rate if is_sft else tuning.preference_learning_rate,
            "batch_size": tuning.batch_size,
            "seed": tuning.seed,
        },
        "out": str(out),
    }
    return parse_recipe(values, origin=f"the stage on {stage}")
