"""One dial for people who do not want to choose: how much trouble a run may take, or how many minutes.

What was set by hand stays. The rest follows from how much there is to learn from, what learns, and, for a time budget,
how quick a few steps turned out to be.
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

Effort = Literal["quick", "normal", "thorough"]  # as recipes say
PLAN = "plan.json"
# Most epochs, and validations without a new best after which a run ends.
PRESET_EPOCHS: dict[Effort, tuple[float, int]] = {"quick": (2, 2), "normal": (8, 3), "thorough": (20, 5)}
STEPS_AN_EPOCH = 12  # at least, where there is little to learn from
LEAST, MOST = 30, 20_000  # steps of a run
ROWS = 16  # in a step, at most
# Peak rates at five million weights, measured (docs/experiments.md); they fall with the fourth root of the size.
RATES = {"full": 3e-4, "partial": 3e-4, "lora": 2e-3, "soft": 3e-2}
LEAST_RATE, AT = 1e-5, 5e6
COMPARING = 0.25  # of a time budget at most is for comparing the model with its base
MARGIN = 0.85  # of what is left is for steps; the rest for validation, saving and answers


def resolve_hyperparameters(
    recipe: Recipe,
    model: LanguageModel,
    data: DatasetSplits,
    seen: PreflightReport | None,
    work: Path,
    spent: float = 0.0,
) -> Recipe:
    """The recipe with everything settled that the dial decides, the same again when a run goes on.

    Args:
        recipe: as it was said.
        model: what learns.
        data: what is learned from, and whether there is something to validate on.
        seen: what was measured; None where the plan is there already.
        work: where the plan is kept.
        spent: seconds of a time budget that are over.
    """
    if recipe.training.effort is None and recipe.training.minutes is None:
        return recipe
    path = work / PLAN
    if path.is_file():
        derived = json.loads(path.read_text())
    else:
        weights = sum(parameter.numel() for parameter in model.module.parameters())
        assert seen is not None, "measured before a plan is made"
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
    rows = said.rows if "rows" in said.model_fields_set else max(1, min(_most_rows(said), in_all // STEPS_AN_EPOCH))
    steps = min(MOST, max(LEAST, round(epochs * in_all / rows)))
    if said.minutes is not None:
        seconds_a_step = rows * seen.row_tokens / seen.tokens_per_second
        seconds = max(0.0, said.minutes * 60 * (1 - COMPARING) - spent) * MARGIN
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
    return max(1, ROWS * DEFAULT_MAX_SEQ_LEN // max(DEFAULT_MAX_SEQ_LEN, said.settled_row_length))
