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

from turnwise.core.errors import InvalidData, InvalidParameter, TurnwiseError, UserError
from turnwise.core.files import write_file
from turnwise.training.methods import METHODS
from turnwise.training.out import check_out, out_folder, work_folder
from turnwise.training.recipe import Recipe, parse_recipe
from turnwise.training.report import Result, StepReport, ValidationReport
from turnwise.training.run import run_recipe

STUDY, BEST, SAID = "study.db", "best", "searched.yaml"
WARM = 4  # trials that are never ended early
ROWS = (2, 4, 8, 16)
DECAYS = (0.0, 0.01, 0.1)
WARMUPS = (0.0, 0.05, 0.1)
SPREAD = 10.0  # rates are looked for so many times below and above the one that was said
RANKS, TOKENS = (4, 8, 16, 32), (5, 10, 20, 50)


@dataclass(frozen=True)
class Found:
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


def search(
    recipe: Recipe,
    *,
    trials: int,
    overwrite: bool = False,
    restart: bool = False,
    on_trial: Callable[[int, dict[str, Any], float | None], None] = lambda *_: None,
    **more: Any,
) -> Found:
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
    if not recipe.method.LEARNS:
        raise InvalidParameter("method", "Where no weight learns there are no rates to search for.")
    work = check_out(recipe, overwrite=overwrite, restart=True)
    if restart:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    _refuse_another(work, recipe)
    study = optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{work / STUDY}",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=recipe.training.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=WARM),
    )

    def attempt(trial: Any) -> float:
        values = _propose(trial, recipe)
        place = work / f"trial-{trial.number}"
        shutil.rmtree(place, ignore_errors=True)
        try:
            result = run_recipe(_with(recipe, values, place), restart=True, hooks=[_Pruning(trial, optuna)], **more)
        except optuna.TrialPruned:
            on_trial(trial.number, values, None)
            shutil.rmtree(work_folder(place), ignore_errors=True)
            raise
        except TurnwiseError as error:
            if isinstance(error, UserError):
                raise
            on_trial(trial.number, values, None)  # it diverged, which is an answer
            shutil.rmtree(work_folder(place), ignore_errors=True)
            raise optuna.TrialPruned from error
        loss = _loss(result)
        on_trial(trial.number, values, loss)
        done = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
        if all(loss < other.value for other in done):
            shutil.rmtree(work / BEST, ignore_errors=True)
            place.rename(work / BEST)
        else:
            shutil.rmtree(place)
        return loss

    left = trials - sum(trial.state.is_finished() for trial in study.trials)
    if left > 0:
        study.optimize(attempt, n_trials=left)
    return _finish(study, optuna, recipe, work)


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
    write_file(path, recipe.dump())


def _propose(trial: Any, recipe: Recipe) -> dict[str, Any]:
    rate = recipe.training.learning_rate
    values = {
        "learning_rate": trial.suggest_float("learning_rate", rate / SPREAD, min(0.9, rate * SPREAD), log=True),
        "rows": trial.suggest_categorical("rows", ROWS),
        "weight_decay": trial.suggest_categorical("weight_decay", DECAYS),
        "warmup": trial.suggest_categorical("warmup", WARMUPS),
    }
    method = METHODS.name_of(recipe.method)
    if method == "lora":
        values["rank"] = trial.suggest_categorical("rank", RANKS)
    if method == "soft":
        values["tokens"] = trial.suggest_categorical("tokens", TOKENS)
    return values


def _with(recipe: Recipe, values: dict[str, Any], place: Path) -> Recipe:
    said = recipe.model_dump(by_alias=True)
    of_method = {name: value for name, value in values.items() if name in ("rank", "tokens")}
    if of_method:
        said["method"] = {**METHODS.spell(recipe.method), **of_method}
    training = {**said["training"], **{n: v for n, v in values.items() if n not in of_method}}
    training["micro_rows"] = min(training["micro_rows"], training["rows"])
    # The same data goes by in every trial, whatever a step takes.
    if training["max_steps"] is not None:
        training["max_steps"] = max(1, round(training["max_steps"] * recipe.training.rows / training["rows"]))
    return parse_recipe({**said, "training": training, "out": str(place)}, origin="search")


def _loss(result: Result) -> float:
    if result.valid_after is None:
        raise InvalidData("A search goes by validation data, and there is none: name some, or more training data.")
    return result.valid_after


class _Pruning:
    """Ends a trial that is worse than most were at the same share of the data."""

    def __init__(self, trial: Any, optuna: ModuleType) -> None:
        self._trial, self._optuna, self._count = trial, optuna, 0

    def start(self, *, total_steps: int, step: int) -> None:
        """Nothing."""

    def step(self, report: StepReport) -> None:
        """Nothing."""

    def validation(self, report: ValidationReport) -> None:
        """Tell Optuna; validations come at the same shares of every run."""
        self._trial.report(report.loss, self._count)
        self._count += 1
        if self._trial.should_prune():
            raise self._optuna.TrialPruned

    def end(self) -> None:
        """Nothing."""


def _finish(study: Any, optuna: ModuleType, recipe: Recipe, work: Path) -> Found:
    done = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if not done:
        raise TurnwiseError("No trial came to its end: every one diverged or was ended early. Try a smaller rate.")
    best = study.best_trial
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    found = Found(len(done) + pruned, pruned, best.value, best.params)
    weights = _importances(study, optuna) if len(done) > 1 else {}
    told = [{"number": t.number, "loss": t.value if t in done else None, **t.params} for t in study.trials if t.params]
    (work / BEST / "search.json").write_text(json.dumps({"importance": weights, "trials": told}, indent=1) + "\n")
    draw(told, weights, best.params, work / BEST / "search.png", title=out_folder(recipe).name)
    out = out_folder(recipe)
    if out.exists():
        shutil.rmtree(out)
    (work / BEST).rename(out)
    shutil.rmtree(work, ignore_errors=True)
    return found


def _importances(study: Any, optuna: ModuleType) -> dict[str, float]:
    """How much of the losses' spread each setting explains (fANOVA's quick relative, PED-ANOVA)."""
    try:
        return dict(
            optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
        )
    except (ValueError, RuntimeError):  # too few trials, or all the same
        return {}


def draw(
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
