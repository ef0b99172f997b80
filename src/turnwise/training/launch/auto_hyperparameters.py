"""Derives unset hyperparameters from a preset ("quick", "normal", "thorough") or a time budget.

Values in the recipe stay. The others follow from the amount of data, the model size, the method and, for a time budget,
the measured speed.
"""

import json
from pathlib import Path
from typing import Any

from turnwise.core.files import atomic_write
from turnwise.models.language_model import LanguageModel
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.launch.auto_seq_len import DEFAULT_MAX_SEQ_LEN
from turnwise.training.launch.preflight import PreflightReport
from turnwise.training.methods import METHODS
from turnwise.training.recipe import Recipe
from turnwise.training.recipe_sections import DEFAULT_LEARNING_RATE, Preset, TrainingSection
from turnwise.training.renamed_keys import TRAINING, with_renamed_keys

HYPERPARAMETERS_FILE = "plan.json"  # in the folder of an unfinished run
# Maximum epochs and early-stopping patience.
PRESET_EPOCHS: dict[Preset, tuple[float, int]] = {"quick": (2, 2), "normal": (8, 3), "thorough": (20, 5)}
MIN_STEPS_PER_EPOCH = 12  # small data sets get a smaller batch size
MIN_STEPS, MAX_STEPS = 30, 20_000  # of a run
MAX_BATCH_SIZE = 16
VALIDATIONS = 8  # at least, per run
# Peak learning rates of `sft` at 5 million parameters (docs/experiments.md); scaled by the size to the power −1/4.
LEARNING_RATES = {"full": 3e-4, "freeze": 3e-4, "lora": 2e-3, "prompt_tuning": 3e-2}
MIN_LEARNING_RATE, REFERENCE_PARAMETERS = 1e-5, 5e6
EVALUATION_SHARE = 0.25  # of a time budget, for the comparison with the base model
STEP_SHARE = 0.85  # of the remaining time; the rest is for validation, checkpoints and samples


def resolve_hyperparameters(
    recipe: Recipe,
    model: LanguageModel,
    data: DatasetSplits,
    report: PreflightReport | None,
    work: Path,
    seconds_used: float = 0.0,
) -> Recipe:
    """Return the recipe with derived hyperparameters; a resumed run reads the stored ones.

    Args:
        recipe: the recipe with a sequence length.
        model: model to train.
        data: datasets of the run.
        report: preflight report; None if the hyperparameters are stored already.
        work: folder of the stored hyperparameters.
        seconds_used: seconds of the time budget that are used up.
    """
    settings = recipe.training
    if settings.preset is None and settings.time_budget is None:
        return recipe
    path = work / HYPERPARAMETERS_FILE
    if path.is_file():
        derived = with_renamed_keys(json.loads(path.read_text()), TRAINING)
    else:
        assert report is not None, "new hyperparameters need measurements"
        num_parameters = sum(parameter.numel() for parameter in model.module.parameters())
        derived = _derive(recipe, data, num_parameters, report, seconds_used)
        atomic_write(path, json.dumps(derived, indent=2) + "\n")
    values = {name: getattr(settings, name) for name in settings.model_fields_set}
    training = TrainingSection.model_validate({**derived, **{n: v for n, v in values.items() if v is not None}})
    return recipe.model_copy(update={"training": training})


def _derive(
    recipe: Recipe, data: DatasetSplits, num_parameters: int, report: PreflightReport, seconds_used: float
) -> dict[str, Any]:
    settings, method = recipe.training, METHODS.plugin_name(recipe.method)
    preset = settings.preset or "normal"
    epochs, patience = PRESET_EPOCHS[preset]
    if "epochs" in settings.model_fields_set:
        epochs = settings.epochs
    rows_per_epoch = len(data.train.rows())
    batch_size = settings.batch_size
    if "batch_size" not in settings.model_fields_set:
        batch_size = max(1, min(_max_batch_size(settings), rows_per_epoch // MIN_STEPS_PER_EPOCH))
    steps = min(MAX_STEPS, max(MIN_STEPS, round(epochs * rows_per_epoch / batch_size)))
    if settings.time_budget is not None:
        seconds = max(0.0, settings.time_budget * 60 * (1 - EVALUATION_SHARE) - seconds_used) * STEP_SHARE
        batch_size, steps = _fit_into_time(settings, batch_size, seconds, report)
    size_factor = min(1.0, (REFERENCE_PARAMETERS / max(1, num_parameters)) ** 0.25)
    rate = LEARNING_RATES.get(method, LEARNING_RATES["full"]) * recipe.objective.LEARNING_RATE / DEFAULT_LEARNING_RATE
    return {
        "max_seq_len": settings.max_seq_len,
        "batch_size": batch_size,
        "micro_batch_size": min(batch_size, report.micro_batch_size),
        "max_steps": steps,
        "learning_rate": max(MIN_LEARNING_RATE, rate * size_factor),
        "early_stopping_patience": patience,
        "eval_steps": max(1, min(max(1, rows_per_epoch // batch_size), steps // VALIDATIONS)),
        "interpolate": preset == "thorough" and recipe.method.INTERPOLATABLE and len(data.valid) > 0,
    }


def _fit_into_time(
    settings: TrainingSection, batch_size: int, seconds: float, report: PreflightReport
) -> tuple[int, int]:
    """Return batch size and steps that take `seconds`. More and smaller steps learn more in a short time."""
    steps = int(seconds / report.seconds(1, batch_size))
    if steps < MIN_STEPS and "batch_size" not in settings.model_fields_set:
        batch_size = max(1, batch_size * steps // MIN_STEPS)
        steps = int(seconds / report.seconds(1, batch_size))
    return batch_size, max(1, min(MAX_STEPS, steps))


def _max_batch_size(settings: TrainingSection) -> int:
    """Maximum rows per step; fewer for rows that are longer than the default."""
    length = settings.resolved_max_seq_len
    return max(1, MAX_BATCH_SIZE * DEFAULT_MAX_SEQ_LEN // max(DEFAULT_MAX_SEQ_LEN, length))
