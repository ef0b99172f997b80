"""The end of `turnwise train`: compares the trained model with its base and writes a report beside the weights."""

import logging
import shlex
from typing import TYPE_CHECKING, Any

from turnwise.core.plurals import pluralize

if TYPE_CHECKING:
    from turnwise.app.base_comparison import ComparisonPreset, ComparisonSize
    from turnwise.core.event_log import EventLog
    from turnwise.training.recipe import Recipe


def report_before_after(
    console: Any,
    recipe: "Recipe",
    preset: "ComparisonPreset",
    seconds_left: float | None = None,
    seconds_per_answer: float | None = None,
    events: "EventLog | None" = None,
) -> None:
    """Compare the model of a finished run with its base on held-out dialogues, and print the scorecard.

    The run is complete, so no error of the comparison is raised; it is printed instead.

    Args:
        console: the rich console to print to.
        recipe: the recipe of the run.
        preset: "quick", "full" or "none".
        seconds_left: what is left of a time budget; the comparison is made to fit. None: no limit.
        seconds_per_answer: the measured time for one answer.
        events: log of the progress; None: there is none.
    """
    from turnwise.core.errors import TurnwiseError

    if preset == "none" or not (recipe.model.source or recipe.objective.READS_ANNOTATIONS):
        return
    try:
        if recipe.objective.READS_ANNOTATIONS:
            _report_classifier(console, recipe)
            return
        from turnwise.app.base_comparison import MAX_DIALOGUES, MIN_DIALOGUES, ComparisonSize, fit_comparison

        size = ComparisonSize(MAX_DIALOGUES[preset], has_golden=True)
        if seconds_left is not None and seconds_per_answer:
            size = fit_comparison(seconds_left, seconds_per_answer, MAX_DIALOGUES[preset])
        if size.max_dialogues < MIN_DIALOGUES:
            console.print(f"No report: no time is left. To compare the models: {_command(recipe)}", markup=False)
            return
        _compare(console, recipe, preset, size, events)
    except KeyboardInterrupt:
        console.print(
            f"No report. The model is complete. To compare it with its base: {_command(recipe)}", markup=False
        )
    except (TurnwiseError, OSError) as error:
        console.print(f"No report: {error}", markup=False)
    except Exception as error:
        logging.getLogger(__name__).exception("The report failed")
        console.print(
            f"No report because of an internal error ({type(error).__name__}). The model is complete.", markup=False
        )


def _report_classifier(console: Any, recipe: "Recipe") -> None:
    """Evaluate a classifier on its test data, else on its validation data, print the result and write the report."""
    from turnwise.app.classifier_evaluation import evaluate_run
    from turnwise.cli.evaluate_classifier import print_classifier_evaluation
    from turnwise.training.examples.holdout import held_out_annotations

    splits = held_out_annotations(recipe)
    split = next((name for name in ("test", "valid") if name in splits), None)
    if split is None:
        console.print("No report: there are no held-out texts.")
        return
    run = evaluate_run(recipe, splits[split])
    console.print(f"\nScores on the {split} data:")
    print_classifier_evaluation(run, console)
    assert run.report_dir is not None
    console.print(f"The report is {run.report_dir / 'report.html'}.", markup=False)


def _compare(
    console: Any,
    recipe: "Recipe",
    preset: "ComparisonPreset",
    size: "ComparisonSize",
    events: "EventLog | None",
) -> None:
    from turnwise.app.base_comparison import has_regressed, plan_comparison
    from turnwise.app.evaluation_run import run_evaluation
    from turnwise.cli.progress_bars import evaluation_progress
    from turnwise.cli.scorecard_table import print_scorecard
    from turnwise.training.objectives import OBJECTIVES

    config = plan_comparison(recipe, preset, size)
    if config is None:
        return
    console.print(f"Comparing with the base model on {pluralize(len(config.dialogues), 'held-out dialogue')} …")
    if not size.has_golden:
        console.print("Skipping the golden set: it takes longer than the time that is left.", markup=False)
    with evaluation_progress(console, events) as on_progress:
        evaluation = run_evaluation(config, on_progress=on_progress)
    print_scorecard(evaluation.scorecard, console)
    assert config.report_dir is not None
    console.print(f"The report is {config.report_dir / 'report.html'}.", markup=False)
    is_sft = OBJECTIVES.plugin_name(recipe.objective) == "sft"
    can_replay = is_sft and recipe.method.TRAINS_WEIGHTS and not recipe.data.replay_ratio
    if can_replay and has_regressed(evaluation.scorecard):
        console.print(
            "The model forgot some of what its base could do. "
            "Train with --replay-ratio 0.5 to also train on the base's own replies."
        )


def _command(recipe: "Recipe") -> str:
    """The command that compares the models."""
    from turnwise.training.launch.run_dir import output_dir

    command = ["turnwise", "evaluate", str(output_dir(recipe)), "--against", recipe.model.source]
    return f"{shlex.join(map(str, command))} --data …"
