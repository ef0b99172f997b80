"""The commands of runs. Only checked values become arguments: names of models are looked up, files are copied first."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from turnwise.app.runs.run_folder import EVENTS, RECIPE, REPORT
from turnwise.core.errors import InvalidParameter
from turnwise.core.runs import EvaluationOptions, TrainingOptions

_SUFFIX = re.compile(r"(\.[a-z0-9]{1,10}){1,3}$")


def copy_data(source: Path, folder: Path) -> str:
    """Put a data set into the folder of a run, so that the run can be resumed when it was deleted or replaced.

    Returns:
        The name of the file: "data" with the suffix of the source.
    """
    suffix = _SUFFIX.search(source.name.lower())
    target = folder / f"data{suffix[0] if suffix else ''}"
    try:
        os.link(source.resolve(), target)  # takes no space, and stays when the source is replaced
    except OSError:
        shutil.copyfile(source, target)
    return target.name


def recipe_values(options: TrainingOptions, base: Path, data: Path, out: Path) -> dict[str, Any]:
    """The recipe of a training. What is not set is derived from the data and the model (`preset`).

    Bad rows are skipped: the check of the data set counts them.
    """
    training: dict[str, Any] = {"preset": "normal", "seed": options.seed}
    settings = {
        "epochs": options.epochs, "time_budget": options.minutes, "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
    }  # fmt: skip
    training |= {name: value for name, value in settings.items() if value is not None}
    return {
        "objective": options.objective,
        "method": options.method,
        "model": {"from": str(base)},
        "data": {"train": [{"path": str(data)}], "replay_ratio": options.replay_ratio, "skip_bad_rows": True},
        "training": training,
        "out": str(out),
    }


def check_options(options: TrainingOptions) -> None:
    """Raises `InvalidParameter` if the options cannot be combined."""
    from turnwise.training.recipe import parse_recipe  # imports torch

    if options.epochs is not None and options.minutes is not None:
        raise InvalidParameter("minutes", "Set the passes over the data or the minutes, not both.")
    try:
        parse_recipe(recipe_values(options, Path("base"), Path("data"), Path("out")), origin="recipe")
    except InvalidParameter as error:
        text = str(error).removeprefix("recipe: ").removeprefix("'' ")
        raise InvalidParameter(error.param or "recipe", f"{text[:1].upper()}{text[1:]}") from error


def write_recipe(folder: Path, values: dict[str, Any]) -> None:
    """Write the recipe of a training."""
    (folder / RECIPE).write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def training_command(folder: Path) -> list[str]:
    """Arguments of `turnwise` that train by the recipe in a folder."""
    return ["train", str(folder / RECIPE), f"--events={folder / EVENTS}"]


def evaluation_command(
    options: EvaluationOptions, folder: Path, data: Path, model: Path, against: Path | None
) -> list[str]:
    """Arguments of `turnwise` that measure a model, and compare it with another one."""
    return [
        "evaluate", f"--data={data}", "--skip-bad-rows", f"--out={folder / REPORT}", f"--limit={options.limit}",
        f"--events={folder / EVENTS}", *([] if against is None else [f"--against={against}"]), "--", str(model),
    ]  # fmt: skip
