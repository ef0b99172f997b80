"""Derives unset hyperparameters from a preset ("quick", "normal", "thorough") or a time budget.

Values in the recipe stay. The others follow from the amount of data, the model size, the method and, for a time budget,
the measured speed.
"""

import json
from pathlib import Path
from typing import Any, Literal

from turnwise.core.files import atomic_write
from turnwise.models.language_model import LanguageModel
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.launch.auto_seq_len import DEFAULT_MAX_SEQ_LEN
from turnwise.training.launch.preflight import PreflightReport
from turnwise.training.methods import METHODS
from turnwise.training.recipe import Recipe, TrainingSection

Effort = Literal["quick", "normal", "thorough"]  # values in recipes
PLAN = "plan.json"
# Maximum epochs and early-stopping patience.
PRESET_EPOCHS: dict[Effort, tuple[float, int]] = {"quick": (2, 2), "normal": (8, 3), "thorough": (20, 5)}
MIN_STEPS_PER_EPOCH = 12  # small data sets get a smaller batch size
LEAST, MOST = 30, 20_000  # steps of a run
MAX_ROWS = 16  # per step
# Peak learning rates at 5 million parameters (docs/experiments.md); they scale with the size to the power −1/4.
RATES = {"full": 3e-4, "partial": 3e-4, "lora": 2e-3, "soft": 3e-2}
LEAST_RATE, AT = 1e-5, 5e6
EVALUATION_SHARE = 0.25  # of a time budget, for the comparison with the base model
STEP_SHARE = 0.85  # of the remaining time; the rest is for validation, checkpoints and samples


def resolve_hyperparameters(
    recipe: Recipe,
    model: LanguageModel,
    data: DatasetSplits,
    seen: PreflightReport | None,
    work: Path,
    spent: float = 0.0,
) -> Recipe:
    """Return the recipe with derived hyperparameters; a resumed run reads them from the stored plan.

    Args:
        recipe: the recipe as given.
        model: model to train.
        data: datasets of the run.
        seen: preflight report; None if the plan is stored already.
        work: folder of the stored plan.
        spent: seconds of the time budget that are used up.
    """
    if recipe.training.effort is None and recipe.training.minutes is None:
        return recipe
    path = work / PLAN
    if path.is_file():
        derived = json.loads(path.read_text())
    else:
        weights = sum(parameter.numel() for parameter in model.module.parameters())
        assert seen is not None, "a new plan needs measurements"
        derived = _derive(recipe, data, weights, seen, spent)
        atomic_write(path, json.dumps(derived, indent=2) + "\n")
    said = {name: getattr(recipe.training, name) for name in recipe.training.model_fields_set}
    training = TrainingSection.model_validate({**derived, **{n: v for n, v in said.items() if v is not None}})
    return recipe.model_copy(update={"training": training})


def _derive(recipe: Recipe, data: DatasetSplits, weights: int, seen: PreflightReport, spent: float) -> dict[str, Any]:
    said, train, method = recipe.training, data.train, METHODS.plugin_name(recipe.method)
    effort = said.effort or "normal"
    epochs, patience = PRESET_EPOCHS[effort]
    if "epochs" in said.model_fields_set:
        epochs = said.epochs
    in_all = len(train.rows())
    rows = (
        said.rows if "rows" in said.model_fields_set else max(1, min(_most_rows(said), in_all // MIN_STEPS_PER_EPOCH))
    )
    steps = min(MOST, max(LEAST, round(epochs * in_all / rows)))
    if said.minutes is not None:
        seconds_a_step = rows * seen.row_tokens / seen.tokens_per_second
        seconds = max(0.0, said.minutes * 60 * (1 - EVALUATION_SHARE) - spent) * STEP_SHARE
        steps = int(seconds / seconds_a_step)
        if steps < LEAST and "rows" not in said.model_fields_set:  # more and smaller steps learn more in a short time
            rows = max(1, rows * steps // LEAST)
            steps = int(seconds / (rows * seen.row_tokens / seen.tokens_per_second))
        steps = max(1, min(MOST, steps))
    rate = max(LEAST_RATE, RATES.get(method, RATES["full"]) * min(1.0, (AT / max(1, weights)) ** 0.25))
    return {
        "row_length": said.row_length,
        "rows": rows,
        "micro_rows": min(rows, seen.micro_rows),
        "max_steps": steps,
        "learning_rate": rate,
        "patience": patience,
        "validate_every": max(1, min(max(1, in_all // rows), steps // 8)),
        "interpolate": effort == "thorough" and recipe.method.INTERPOLATABLE and len(data.valid) > 0,
    }


def _most_rows(said: TrainingSection) -> int:
    """Rows in a step, at most; fewer where they are longer than usual."""
    return max(1, MAX_ROWS * DEFAULT_MAX_SEQ_LEN // max(DEFAULT_MAX_SEQ_LEN, said.settled_row_length))
