"""The end of `turnwise train`: is the model better than the one it began as? A report lies beside its weights."""

import logging
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from turnwise.cli.scorecard_table import MAX_ANSWER_TOKENS, evaluation_progress, open_response_cache, print_scorecard
from turnwise.core.plurals import pluralize

if TYPE_CHECKING:
    from turnwise.evaluation.scorecard import Scorecard
    from turnwise.training.recipe import Recipe

# Nothing else is imported up here: the help must answer at once.

Report = Literal["quick", "full", "none"]
MAX_DIALOGUES = {"quick": 50, "full": 500, "none": 0}
MIN_DIALOGUES = 5  # dialogues of a report
GOLDEN_CASES = 374
# What takes seconds for a small model. The others read a dialogue many times over.
QUICK_METRICS = [
    "golden", "success", "chrf", "bits_per_byte", "repetition", "perplexity", "rouge_l", "distinct_2", "length_ratio"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ComparisonSize:
    """How much is compared.

    Attributes:
        dialogues: at most.
        golden: whether the golden set is asked, too.
    """

    dialogues: int
    golden: bool


def fit_comparison(seconds: float, answer_seconds: float, dialogues: int) -> ComparisonSize:
    """The comparison that fits into the time: with the golden set, else of dialogues alone, of as many as go in.

    Args:
        seconds: that are left.
        answer_seconds: that one answer takes; each of the two models gives one for every dialogue and golden case.
        dialogues: wanted.
    """
    answers = seconds / (2 * answer_seconds)
    if answers >= dialogues + GOLDEN_CASES:
        return ComparisonSize(dialogues, golden=True)
    return ComparisonSize(min(dialogues, int(answers)), golden=False)


def compare_with_base(
    console: Any, recipe: "Recipe", wanted: Report, seconds: float | None = None, answer_seconds: float | None = None
) -> None:
    """Compare what came out of a run with what went in, on dialogues that it did not learn from.

    A model that does not talk, or that began from nothing, is compared with nothing. Whatever goes wrong is told, and
    changes nothing about the model or how the run ended. Where `seconds` are left of a time budget, as much is compared
    as goes into them, by what one answer takes.
    """
    from turnwise.core.errors import TurnwiseError

    if wanted == "none" or not recipe.model.source:
        return
    try:
        size = ComparisonSize(MAX_DIALOGUES[wanted], golden=True)
        if seconds is not None and answer_seconds:
            size = fit_comparison(seconds, answer_seconds, MAX_DIALOGUES[wanted])
        if size.dialogues < MIN_DIALOGUES:
            again = shlex.join(["turnwise", "evaluate", _out(recipe), "--against", recipe.model.source])
            console.print(
                f"No report: there is no time left for one. To compare the model: {again} --data …", markup=False
            )
            return
        _compare(console, recipe, wanted, size)
    except KeyboardInterrupt:
        again = shlex.join(["turnwise", "evaluate", _out(recipe), "--against", recipe.model.source])
        console.print(f"No report. The model is complete; to compare it: {again} --data …", markup=False)
    except (TurnwiseError, OSError) as error:
        console.print(f"No report: {error}", markup=False)
    except Exception as error:  # the run is done, whatever becomes of its report
        logging.getLogger(__name__).exception("The report of %s failed", _out(recipe))
        console.print(f"No report, by a fault of ours ({type(error).__name__}). The model is complete.", markup=False)


def _compare(console: Any, recipe: "Recipe", wanted: Report, size: ComparisonSize) -> None:
    from functools import partial

    from turnwise.app.model_names import load_renderer
    from turnwise.app.systems_under_test import open_model_under_test
    from turnwise.evaluation.evaluate import evaluate
    from turnwise.evaluation.metrics import load_metrics
    from turnwise.evaluation.report import write_report
    from turnwise.evaluation.template_check import template_error
    from turnwise.training.examples.holdout import held_out_dialogues
    from turnwise.training.launch.run_dir import output_dir
    from turnwise.training.loggers import METRICS_FILE, read_loss_curve
    from turnwise.training.objectives import OBJECTIVES

    if OBJECTIVES.plugin_name(recipe.objective) in ("mlm", "span"):
        return
    out = output_dir(recipe)
    sides = {name: load_renderer(name) for name in (str(out), str(recipe.model.source))} if recipe.data.skip_bad else {}
    dialogues = held_out_dialogues(recipe, size.dialogues, lambda dialogue: template_error(dialogue, sides) is None)
    if not dialogues:
        return
    console.print(f"Comparing it with what it began as, on {pluralize(len(dialogues), 'held-out dialogue')} …")
    names = QUICK_METRICS if wanted == "quick" else None
    if not size.golden:
        console.print("The golden set is left out: it takes longer than what is left of the time.", markup=False)
        names = [name for name in QUICK_METRICS if name != "golden"]
    with open_response_cache(True) as kept, evaluation_progress(console) as watch:
        tuned, base = (
            partial(open_model_under_test, str(name), kept, sampling={"max_tokens": MAX_ANSWER_TOKENS})
            for name in (out, recipe.model.source)
        )
        found = evaluate(
            tuned,
            base,
            dialogues,
            load_metrics(names),
            watch=watch,
            about={"run": str(out), "began as": recipe.model.source},
        )
    write_report(out / "report", found.card, found.model, found.base, loss=read_loss_curve(out / METRICS_FILE))
    print_scorecard(found.card, console)
    console.print(f"The report is {out / 'report' / 'report.html'}.", markup=False)
    may = (
        recipe.method.TRAINS_WEIGHTS and not recipe.data.rehearse and OBJECTIVES.plugin_name(recipe.objective) == "sft"
    )
    if may and has_regressed(found.card):
        console.print("It forgot some of what it knew. --rehearse 0.5 has it learn its own answers as well.")


def has_regressed(card: "Scorecard") -> bool:
    """Whether more of the golden set was lost than chance explains, or a safety case."""
    worse = any(line.name == "golden" and line.verdict == "worse" for line in card.rows)
    return worse or any(flip.is_safety and flip.was_correct for flip in card.flips)


def _out(recipe: "Recipe") -> str:
    from turnwise.training.launch.run_dir import output_dir

    return str(output_dir(recipe))
