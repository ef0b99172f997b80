"""Compares a trained model with its base model on held-out dialogues."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from turnwise.app.evaluation_run import EvaluationConfig
from turnwise.app.model_names import load_renderer
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.scorecard import Scorecard
from turnwise.evaluation.template_check import template_error

if TYPE_CHECKING:
    from turnwise.training.recipe import Recipe

ComparisonPreset = Literal["quick", "full", "none"]
MAX_DIALOGUES = {"quick": 50, "full": 500, "none": 0}
MIN_DIALOGUES = 5
NUM_GOLDEN_CASES = 374
# These take seconds for a small model; the other metrics read each dialogue many times.
QUICK_METRICS = [
    "golden", "success", "chrf", "bits_per_byte", "repetition", "perplexity", "rouge_l", "distinct_2", "length_ratio"
]  # fmt: skip
TEXT_INFILLING_OBJECTIVES = ("mlm", "span")  # their models do not generate replies


@dataclass(frozen=True, slots=True)
class ComparisonSize:
    """The size of a comparison.

    Attributes:
        max_dialogues: maximum number of dialogues.
        has_golden: whether the golden set is included.
    """

    max_dialogues: int
    has_golden: bool


def fit_comparison(seconds: float, seconds_per_answer: float, max_dialogues: int) -> ComparisonSize:
    """Return the largest comparison that fits into a time: the golden set is dropped first, then dialogues.

    Args:
        seconds: the time that is left.
        seconds_per_answer: the time for one answer; both models answer every dialogue and every golden case.
        max_dialogues: maximum number of dialogues.
    """
    answers_per_model = seconds / (2 * seconds_per_answer)
    if answers_per_model >= max_dialogues + NUM_GOLDEN_CASES:
        return ComparisonSize(max_dialogues, has_golden=True)
    return ComparisonSize(min(max_dialogues, int(answers_per_model)), has_golden=False)


def plan_comparison(recipe: "Recipe", preset: ComparisonPreset, size: ComparisonSize) -> EvaluationConfig | None:
    """Return the evaluation of a finished run against its base; None if the model does not generate replies.

    Args:
        recipe: the recipe of the run.
        preset: "quick" computes `QUICK_METRICS`, "full" computes all metrics.
        size: the size of the comparison.
    """
    from turnwise.training.examples.holdout import held_out_dialogues
    from turnwise.training.launch.run_dir import output_dir
    from turnwise.training.loggers import METRICS_FILE, read_loss_curve
    from turnwise.training.objectives import OBJECTIVES

    base = recipe.model.source
    if not base or OBJECTIVES.plugin_name(recipe.objective) in TEXT_INFILLING_OBJECTIVES:
        return None
    run_dir = output_dir(recipe)
    format = recipe.model.interaction_format
    renderers = {}
    if recipe.data.skip_bad_rows:
        renderers = {str(run_dir): load_renderer(str(run_dir)), base: load_renderer(base, format)}
    dialogues = held_out_dialogues(
        recipe, size.max_dialogues, lambda dialogue: template_error(dialogue, renderers) is None
    )
    if not dialogues:
        return None
    names = QUICK_METRICS if preset == "quick" else None
    if not size.has_golden:
        names = [name for name in QUICK_METRICS if name != "golden"]
    return EvaluationConfig(
        model=str(run_dir),
        base=base,
        dialogues=dialogues,
        metrics=load_metrics(names),
        metadata={"run": str(run_dir), "base_model": base},
        base_serving={"format": format},
        report_dir=run_dir / "report",
        loss_curve=read_loss_curve(run_dir / METRICS_FILE),
    )


def has_regressed(scorecard: Scorecard) -> bool:
    """Return whether a model lost significantly on the golden set, or fails a safety case that its base passes."""
    is_worse = any(row.name == "golden" and row.verdict == "worse" for row in scorecard.rows)
    return is_worse or any(flip.is_safety and flip.is_loss for flip in scorecard.flips)
