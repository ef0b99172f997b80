"""Hyperparameter search with Optuna: learning rate, batch size, weight decay, warmup and the size of added weights.

Tree-structured Parzen estimators (Bergstra et al. 2011) propose the trials. A trial whose validation loss is above the
median of the other trials at the same step is pruned. The study is stored in a file, so an interrupted search can be
resumed.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml

from turnwise.core.directory_lock import LOCK_NAME
from turnwise.core.errors import InvalidData, InvalidParameter, SaveFailed, TurnwiseError, UserError
from turnwise.core.files import atomic_write, replace_directory
from turnwise.training.hooks import TrainerHook, TrainingResult, ValidationReport
from turnwise.training.launch.hpo_plot import plot_hpo
from turnwise.training.launch.run_dir import check_run_dir, lock_run_dir, output_dir, work_dir
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.methods import METHODS
from turnwise.training.recipe import Recipe, parse_recipe

STUDY_FILE, RECIPE_FILE = "study.db", "searched.yaml"
NUM_STARTUP_TRIALS = 4  # trials before pruning starts
PRUNING_INTERVALS = 10  # validation losses are compared once per tenth of the steps
LEARNING_RATE_FACTOR = 10.0  # the search covers the recipe's learning rate divided and multiplied by this factor
BATCH_SIZES = (2, 4, 8, 16)
WEIGHT_DECAYS = (0.0, 0.01, 0.1)
WARMUP_RATIOS = (0.0, 0.05, 0.1)
# Method → its searched option and the values to try.
METHOD_OPTIONS = {"lora": ("rank", (4, 8, 16, 32)), "prompt_tuning": ("num_virtual_tokens", (5, 10, 20, 50))}

OnTrial = Callable[[int, dict[str, Any], float | None], None]
"""Called with a trial's number, its hyperparameters, and its loss; None if it was pruned."""


@dataclass(frozen=True)
class HpoResult:
    """Result of a search.

    Attributes:
        trials: trials that completed or were pruned.
        pruned: trials that were pruned.
        loss: lowest validation loss.
        values: hyperparameters of the trial with the lowest loss.
    """

    trials: int
    pruned: int
    loss: float
    values: dict[str, Any]


def run_hpo(
    recipe: Recipe,
    *,
    trials: int,
    overwrite: bool = False,
    restart: bool = False,
    on_trial: OnTrial = lambda *_: None,
    device: torch.device | None = None,
) -> HpoResult:
    """Search the hyperparameters with the lowest validation loss, and write the best model to `recipe.out`.

    Args:
        recipe: the recipe; the searched hyperparameters are replaced.
        trials: number of trials, including those of an interrupted search.
        overwrite: replace an existing output folder.
        restart: discard an unfinished search.
        on_trial: called after every trial.
        device: device to train on; None uses a GPU if there is one.

    Raises:
        UserError: Optuna is not installed, the method trains no weights, or there is no validation data.
    """
    optuna = _import_optuna()
    if not recipe.method.TRAINS_WEIGHTS:
        raise InvalidParameter("method", "A hyperparameter search needs a method that trains weights.")
    check_run_dir(recipe, overwrite=overwrite, restart=True)
    out = output_dir(recipe)
    work = out.with_name(out.name + ".search")
    with lock_run_dir(work):
        if restart:
            _discard(work)
        _check_same_recipe(work, recipe)
        return _search(recipe, trials, work, optuna, on_trial, device)


def _search(
    recipe: Recipe, trials: int, work: Path, optuna: ModuleType, on_trial: OnTrial, device: torch.device | None
) -> HpoResult:
    study = optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{work / STUDY_FILE}",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=NUM_STARTUP_TRIALS),
    )
    finished_states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    while sum(trial.state in finished_states for trial in study.trials) < trials:
        trial = _next_trial(study, optuna, recipe)
        values = _propose(trial, recipe)
        _remove_trial_folders(study, work, trial.number)
        loss = _run_trial(trial, optuna, _trial_recipe(recipe, values, _trial_dir(work, trial.number)), device)
        if loss is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, loss)
        on_trial(trial.number, values, loss)
    return _finish(study, optuna, recipe, work)


def _discard(work: Path) -> None:
    """Remove the files of an unfinished search, except the lock."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK_NAME:
            path.unlink(missing_ok=True)


def _next_trial(study: Any, optuna: ModuleType, recipe: Recipe) -> Any:
    """Return the interrupted trial with its hyperparameters, or a new trial."""
    running = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.RUNNING]
    if running:
        return optuna.trial.Trial(study, running[0]._trial_id)
    # The seed depends on the trial's number, so a resumed search proposes the same trials.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.training.seed + len(study.trials))
    return study.ask()


def _run_trial(trial: Any, optuna: ModuleType, recipe: Recipe, device: torch.device | None) -> float | None:
    """Run or resume a trial; return its validation loss, or None if it was pruned or diverged."""
    out = output_dir(recipe)
    try:
        if out.is_dir():  # complete, but the process ended before the loss was stored in the study
            loss: float = json.loads((out / "result.json").read_text())["loss"]["valid_after"]
            return loss
        return _validation_loss(run_recipe(recipe, hooks=[_PruningHook(trial, optuna)], device=device))
    except (optuna.TrialPruned, TurnwiseError) as error:
        if isinstance(error, UserError | SaveFailed):
            raise
        shutil.rmtree(work_dir(out), ignore_errors=True)
        return None


def _trial_dir(work: Path, number: int) -> Path:
    return work / f"trial-{number}"


def _remove_trial_folders(study: Any, work: Path, current: int) -> None:
    """Remove the folders of all trials except the current and the best one."""
    complete = [trial for trial in study.trials if trial.value is not None]
    best = min(complete, key=lambda trial: trial.value, default=None)
    current_dir = _trial_dir(work, current)
    needed = {current_dir.name, work_dir(current_dir).name}
    if best is not None:
        needed.add(_trial_dir(work, best.number).name)
    for path in work.iterdir():
        if path.is_dir() and path.name not in needed:
            shutil.rmtree(path, ignore_errors=True)


def _import_optuna() -> ModuleType:
    try:
        import optuna
    except ImportError:
        raise UserError("A hyperparameter search needs Optuna: pip install 'turnwise[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    module: ModuleType = optuna
    return module


def _check_same_recipe(work: Path, recipe: Recipe) -> None:
    """Store the recipe of the search; raise `InvalidParameter` if another one is stored."""
    path = work / RECIPE_FILE
    if path.is_file() and path.read_text(encoding="utf-8") != recipe.dump():
        raise InvalidParameter(
            "out",
            f"{work} holds an unfinished search of another recipe, or of an earlier version of Turnwise. Run that "
            "recipe again to continue it, choose another --out, or pass --restart to discard it.",
        )
    atomic_write(path, recipe.dump())


def _propose(trial: Any, recipe: Recipe) -> dict[str, Any]:
    """Draw the hyperparameters of a trial."""
    rate = recipe.training.learning_rate
    low, high = rate / LEARNING_RATE_FACTOR, min(0.9, rate * LEARNING_RATE_FACTOR)
    values = {
        "learning_rate": trial.suggest_float("learning_rate", low, high, log=True),
        "batch_size": trial.suggest_categorical("batch_size", BATCH_SIZES),
        "weight_decay": trial.suggest_categorical("weight_decay", WEIGHT_DECAYS),
        "warmup_ratio": trial.suggest_categorical("warmup_ratio", WARMUP_RATIOS),
    }
    method = METHODS.plugin_name(recipe.method)
    if method in METHOD_OPTIONS:
        option, choices = METHOD_OPTIONS[method]
        values[option] = trial.suggest_categorical(option, choices)
    return values


def _trial_recipe(recipe: Recipe, values: dict[str, Any], out: Path) -> Recipe:
    """Return the recipe with the hyperparameters and the output folder of a trial."""
    recipe_values = recipe.model_dump(by_alias=True)
    options = {option for option, _ in METHOD_OPTIONS.values()}
    if method_values := {name: value for name, value in values.items() if name in options}:
        recipe_values["method"] = {**METHODS.dump_plugin(recipe.method), **method_values}
    training = recipe.training.model_dump(exclude_unset=True)
    training |= {name: value for name, value in values.items() if name not in options}
    if "micro_batch_size" in training:
        training["micro_batch_size"] = min(training["micro_batch_size"], training["batch_size"])
    # All trials see the same data, whatever their batch size.
    if recipe.training.max_steps is not None:
        num_rows = recipe.training.max_steps * recipe.training.batch_size
        training["max_steps"] = max(1, round(num_rows / training["batch_size"]))
    return parse_recipe({**recipe_values, "training": training, "out": str(out)}, origin="search")


def _validation_loss(result: TrainingResult) -> float:
    if result.valid_after is None:
        raise InvalidData("A hyperparameter search needs validation data: set 'data.valid', or add training data.")
    return result.valid_after


class _PruningHook(TrainerHook):
    """Prunes a trial whose loss is above the median of the other trials at the same tenth of the steps."""

    def __init__(self, trial: Any, optuna: ModuleType) -> None:
        self._trial, self._optuna = trial, optuna
        self._total_steps, self._last_interval = 1, -1

    def on_train_begin(self, *, total_steps: int, step: int) -> None:  # noqa: ARG002
        self._total_steps = total_steps

    def on_evaluate(self, report: ValidationReport) -> None:
        """Report the loss to Optuna once per interval."""
        interval = PRUNING_INTERVALS * report.step // self._total_steps
        if interval == self._last_interval:
            return
        self._last_interval = interval
        if interval in self._trial.study.trials[self._trial.number].intermediate_values:
            return  # reported before the trial was interrupted
        self._trial.report(report.loss, interval)
        if self._trial.should_prune():
            raise self._optuna.TrialPruned


def _finish(study: Any, optuna: ModuleType, recipe: Recipe, work: Path) -> HpoResult:
    """Move the best model to the output folder, with `search.json` and `search.png`."""
    complete = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if not complete:
        raise TurnwiseError("No trial completed: all of them diverged or were pruned. Try a smaller learning rate.")
    best = study.best_trial
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    importances = _importances(study, optuna) if len(complete) > 1 else {}
    trials = [
        {"number": trial.number, "loss": trial.value if trial in complete else None, **trial.params}
        for trial in study.trials
        if trial.params
    ]
    folder = _trial_dir(work, best.number)
    _set_model_name(folder, recipe)
    (folder / "search.json").write_text(json.dumps({"importance": importances, "trials": trials}, indent=1) + "\n")
    plot_hpo(trials, importances, best.params, folder / "search.png", title=output_dir(recipe).name)
    replace_directory(folder, output_dir(recipe))
    shutil.rmtree(work, ignore_errors=True)
    return HpoResult(len(complete) + pruned, pruned, best.value, best.params)


def _set_model_name(folder: Path, recipe: Recipe) -> None:
    """Replace the trial's name by the model's in the recipe and the card."""
    path = folder / "recipe.yaml"
    values = {**yaml.safe_load(path.read_text(encoding="utf-8")), "out": recipe.out}
    path.write_text(parse_recipe(values, origin=str(path)).dump(), encoding="utf-8")
    card = folder / "README.md"
    card.write_text(card.read_text(encoding="utf-8").replace(f"# {folder.name}\n", f"# {output_dir(recipe).name}\n", 1))


def _importances(study: Any, optuna: ModuleType) -> dict[str, float]:
    """Share of the variance of the losses that each hyperparameter explains (PED-ANOVA, Watanabe et al. 2023)."""
    try:
        return dict(
            optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
        )
    except (ValueError, RuntimeError):  # too few trials, or equal losses
        return {}
