"""A search over what people would otherwise guess: rates, rows, decay, and the sizes of what is added.

The search is Optuna's: tree-structured Parzen estimators (Bergstra et al. 2011) propose, and a trial whose validation
loss is worse than the median of the others' at the same step is ended early. The study lies in a file, so a search that
was stopped goes on.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from turnwise.core.directory_lock import LOCK_NAME
from turnwise.core.errors import InvalidData, InvalidParameter, SaveFailed, TurnwiseError, UserError
from turnwise.core.files import atomic_write, replace_directory
from turnwise.training.hooks import StepReport, TrainingResult, ValidationReport
from turnwise.training.launch.run_dir import check_run_dir, lock_run_dir, output_dir, work_dir
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.methods import METHODS
from turnwise.training.recipe import Recipe, parse_recipe

STUDY, SAID = "study.db", "searched.yaml"
WARM = 4  # trials that are never ended early
ROWS = (2, 4, 8, 16)
DECAYS = (0.0, 0.01, 0.1)
WARMUPS = (0.0, 0.05, 0.1)
SPREAD = 10.0  # rates are looked for so many times below and above the one that was said
RANKS, TOKENS = (4, 8, 16, 32), (5, 10, 20, 50)


@dataclass(frozen=True)
class HpoResult:
    """What a search came to.

    Attributes:
        trials: that were run to their end, or ended early.
        pruned: those that were ended early.
        loss: the best validation loss.
        values: what it was reached with.
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
    on_trial: Callable[[int, dict[str, Any], float | None], None] = lambda *_: None,
    **more: Any,
) -> HpoResult:
    """Look for the settings with the lowest validation loss, and leave the best model at `out`.

    Args:
        recipe: where to begin; what is searched is replaced.
        trials: how many in all, those of an earlier call included.
        overwrite: replace `out`.
        restart: throw an unfinished search away.
        on_trial: called with a trial's number, its settings and its loss, None where it was ended early.
        more: for `run_recipe`.

    Raises:
        UserError: Optuna is not installed, the method learns nothing, or there is nothing to validate on.
    """
    optuna = _optuna()
    if not recipe.method.TRAINS_WEIGHTS:
        raise InvalidParameter("method", "Where no weight learns there are no rates to search for.")
    check_run_dir(recipe, overwrite=overwrite, restart=True)
    out = output_dir(recipe)
    work = out.with_name(out.name + ".search")  # a run of the same name has a folder of its own
    with lock_run_dir(work):
        if restart:
            _discard(work)
        _refuse_another(work, recipe)
        return _search(recipe, trials, work, optuna, on_trial, **more)


def _search(
    recipe: Recipe,
    trials: int,
    work: Path,
    optuna: ModuleType,
    on_trial: Callable[[int, dict[str, Any], float | None], None],
    **more: Any,
) -> HpoResult:
    study = optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{work / STUDY}",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=WARM),
    )
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    while sum(trial.state in ended for trial in study.trials) < trials:
        trial = _next_trial(study, optuna, recipe)
        values = _propose(trial, recipe)
        _forget_losers(study, work, trial.number)
        loss = _run_trial(trial, optuna, _with(recipe, values, _place(work, trial.number)), **more)
        if loss is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, loss)
        on_trial(trial.number, values, loss)
    return _finish(study, optuna, recipe, work)


def _discard(work: Path) -> None:
    """Remove an unfinished search, all but its lock."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK_NAME:
            path.unlink(missing_ok=True)


def _next_trial(study: Any, optuna: ModuleType, recipe: Recipe) -> Any:
    """The trial that an earlier search did not end, with the settings it had, or a new one."""
    running = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.RUNNING]
    if running:
        return optuna.trial.Trial(study, running[0]._trial_id)
    # The seed depends on the trial's number, so a search that was stopped proposes what it would have proposed.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.training.seed + len(study.trials))
    return study.ask()


def _run_trial(trial: Any, optuna: ModuleType, recipe: Recipe, **more: Any) -> float | None:
    """The validation loss of a trial, which goes on where it was stopped; None where it ended early or diverged."""
    out = output_dir(recipe)
    try:
        if out.is_dir():  # complete, but the process ended before its loss was stored
            loss: float = json.loads((out / "result.json").read_text())["loss"]["valid_after"]
            return loss
        return _loss(run_recipe(recipe, hooks=[_Pruning(trial, optuna)], **more))
    except (optuna.TrialPruned, TurnwiseError) as error:
        if isinstance(error, UserError | SaveFailed):
            raise
        shutil.rmtree(work_dir(out), ignore_errors=True)
        return None


def _place(work: Path, number: int) -> Path:
    return work / f"trial-{number}"


def _forget_losers(study: Any, work: Path, current: int) -> None:
    """Remove the folders of all trials but the current and the best one."""
    values = [trial for trial in study.trials if trial.value is not None]
    best = min(values, key=lambda trial: trial.value, default=None)
    current_out = _place(work, current)
    kept = {current_out.name, work_dir(current_out).name}
    if best is not None:
        kept.add(_place(work, best.number).name)
    for path in work.iterdir():
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError:
        raise UserError("A search needs Optuna: pip install 'turnwise[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    module: ModuleType = optuna
    return module


def _refuse_another(work: Path, recipe: Recipe) -> None:
    path = work / SAID
    if path.is_file() and path.read_text(encoding="utf-8") != recipe.dump():
        raise InvalidParameter(
            "out",
            f"{work} holds an unfinished search of another recipe. Say that one again to go on with it, choose another "
            "--out, or pass --restart to throw it away.",
        )
    atomic_write(path, recipe.dump())


def _propose(trial: Any, recipe: Recipe) -> dict[str, Any]:
    rate = recipe.training.learning_rate
    values = {
        "learning_rate": trial.suggest_float("learning_rate", rate / SPREAD, min(0.9, rate * SPREAD), log=True),
        "rows": trial.suggest_categorical("rows", ROWS),
        "weight_decay": trial.suggest_categorical("weight_decay", DECAYS),
        "warmup": trial.suggest_categorical("warmup", WARMUPS),
    }
    method = METHODS.plugin_name(recipe.method)
    if method == "lora":
        values["rank"] = trial.suggest_categorical("rank", RANKS)
    if method == "soft":
        values["tokens"] = trial.suggest_categorical("tokens", TOKENS)
    return values


def _with(recipe: Recipe, values: dict[str, Any], place: Path) -> Recipe:
    said = recipe.model_dump(by_alias=True)
    said["training"] = recipe.training.model_dump(exclude_unset=True)
    of_method = {name: value for name, value in values.items() if name in ("rank", "tokens")}
    if of_method:
        said["method"] = {**METHODS.dump_plugin(recipe.method), **of_method}
    training = {**said["training"], **{n: v for n, v in values.items() if n not in of_method}}
    if "micro_rows" in training:
        training["micro_rows"] = min(training["micro_rows"], training["rows"])
    # The same data goes by in every trial, whatever a step takes.
    if recipe.training.max_steps is not None:
        training["max_steps"] = max(1, round(recipe.training.max_steps * recipe.training.rows / training["rows"]))
    return parse_recipe({**said, "training": training, "out": str(place)}, origin="search")


def _loss(result: TrainingResult) -> float:
    if result.valid_after is None:
        raise InvalidData("A search goes by validation data, and there is none: name some, or more training data.")
    return result.valid_after


class _Pruning:
    """Ends a trial that is worse than most were at the same tenth of the data."""

    def __init__(self, trial: Any, optuna: ModuleType) -> None:
        self._trial, self._optuna, self._total, self._told = trial, optuna, 1, -1

    def start(self, *, total_steps: int, step: int) -> None:  # noqa: ARG002
        """Know what a tenth is."""
        self._total = total_steps

    def step(self, report: StepReport) -> None:
        """Nothing."""

    def validation(self, report: ValidationReport) -> None:
        """Tell Optuna, once in every tenth."""
        tenth = 10 * report.step // self._total
        if tenth == self._told:
            return
        self._told = tenth
        if tenth in self._trial.study.trials[self._trial.number].intermediate_values:
            return  # before the trial was stopped
        self._trial.report(report.loss, tenth)
        if self._trial.should_prune():
            raise self._optuna.TrialPruned

    def end(self) -> None:
        """Nothing."""


def _finish(study: Any, optuna: ModuleType, recipe: Recipe, work: Path) -> HpoResult:
    done = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if not done:
        raise TurnwiseError("No trial came to its end: every one diverged or was ended early. Try a smaller rate.")
    best = study.best_trial
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    found = HpoResult(len(done) + pruned, pruned, best.value, best.params)
    weights = _importances(study, optuna) if len(done) > 1 else {}
    told = [{"number": t.number, "loss": t.value if t in done else None, **t.params} for t in study.trials if t.params]
    folder = _place(work, best.number)
    _name(folder, recipe)
    (folder / "search.json").write_text(json.dumps({"importance": weights, "trials": told}, indent=1) + "\n")
    plot_hpo(told, weights, best.params, folder / "search.png", title=output_dir(recipe).name)
    replace_directory(folder, output_dir(recipe))
    shutil.rmtree(work, ignore_errors=True)
    return found


def _name(folder: Path, recipe: Recipe) -> None:
    """What is beside the weights calls the model as it will be called."""
    said = folder / "recipe.yaml"
    values = {**yaml.safe_load(said.read_text(encoding="utf-8")), "out": recipe.out}
    said.write_text(parse_recipe(values, origin=str(said)).dump(), encoding="utf-8")
    card = folder / "README.md"
    card.write_text(card.read_text(encoding="utf-8").replace(f"# {folder.name}\n", f"# {output_dir(recipe).name}\n", 1))


def _importances(study: Any, optuna: ModuleType) -> dict[str, float]:
    """How much of the losses' spread each setting explains (fANOVA's quick relative, PED-ANOVA)."""
    try:
        return dict(
            optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
        )
    except (ValueError, RuntimeError):  # too few trials, or all the same
        return {}


def plot_hpo(
    trials: list[dict[str, Any]], weights: dict[str, float], best: dict[str, Any], picture: Path, *, title: str
) -> None:
    """What mattered, and how the loss went with each setting."""
    from matplotlib.figure import Figure

    names = list(best)
    figure = Figure(figsize=(3 * (len(names) + 1), 3.2), layout="constrained")
    panels = figure.subplots(1, len(names) + 1)
    shown = sorted(weights, key=lambda name: weights[name])
    panels[0].barh(shown, [weights[name] for name in shown], color="#1f5fa8")
    panels[0].set(title="what mattered", xlabel="share of the spread")
    done = [trial for trial in trials if trial["loss"] is not None]
    for panel, name in zip(panels[1:], names, strict=True):
        values = [trial[name] for trial in done]
        places = values if name == "learning_rate" else [str(value) for value in values]
        panel.scatter(places, [trial["loss"] for trial in done], color="#9db7d5")
        chosen = best[name] if name == "learning_rate" else str(best[name])
        panel.scatter([chosen], [min(trial["loss"] for trial in done)], color="#c8551b", label="best")
        panel.set(title=name, ylabel="validation loss")
        if name == "learning_rate":
            panel.set_xscale("log")
    figure.suptitle(title)
    figure.savefig(picture, dpi=110)
