"""`turnwise evaluate` for a classifier, and the output of its evaluation on the terminal."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from turnwise.app.classifier_evaluation import ClassifierEvaluationRun
    from turnwise.data.read_options import ReadOptions
    from turnwise.evaluation.classification.classifier_evaluation import ClassifierEvaluation
    from turnwise.evaluation.classification.worst_errors import MarkedText, SentenceError, TextError

NUM_CONFUSIONS, NUM_ERRORS = 10, 5  # on the terminal; the report has more
MAX_TEXT = 160  # characters of a text on the terminal


def reject_chat_options(**used: Any) -> None:
    """Raise `UserError` for options of `turnwise evaluate` that do not apply to classifiers.

    Args:
        used: the options by parameter name; true for those that were used.
    """
    from turnwise.core.errors import UserError

    names = {"sampling": "Sampling options", "cache": "--no-cache"}
    if name := next((name for name, value in used.items() if value), None):
        option = names.get(name, f"--{name.replace('_', '-')}")
        verb = "are" if name == "sampling" else "is"
        raise UserError(f"{option} {verb} for chat models; this model is a classifier.")


def evaluate_classifier_command(
    model: str,
    data: Path | None,
    against: str | None,
    out: Path | None,
    options: "ReadOptions",
    *,
    limit: int | None,
    none_label: str | None,
    quantize: str | None,
    threads: int | None,
    skip_bad_rows: bool,
    json_out: bool,
    fail_if_worse: bool,
) -> None:
    """Evaluate a classifier; the arguments are the options of `turnwise evaluate`."""
    import shlex
    import sys

    from rich.console import Console

    from turnwise.app.classifier_data import load_classifier_data
    from turnwise.app.classifier_evaluation import evaluate_classifier, open_base_classifier
    from turnwise.app.classifiers import open_classifier
    from turnwise.app.evaluation_run import check_report_dir
    from turnwise.core.errors import UserError
    from turnwise.evaluation.classification.label_report import check_libraries
    from turnwise.evaluation.report import write_classifier_report

    check_libraries()
    if data is None:
        raise UserError("A classifier is evaluated on annotated texts: pass --data FILE.")
    if fail_if_worse and against is None:
        raise UserError("--fail-if-worse needs a classifier to compare with: add --against MODEL.")
    if out is not None:
        check_report_dir(out)
    classifier = open_classifier(model, quantize=quantize, threads=threads)
    base = None if against is None else open_base_classifier(against, classifier, threads=threads)
    context_words = max(classifier.config.context_words, 0 if base is None else base.context_words)
    loaded = load_classifier_data(
        data, classifier.config, options,
        none_label=none_label, limit=limit, context_words=context_words, skip_bad_rows=skip_bad_rows,
    )  # fmt: skip
    settings = {
        "model": model, "command": shlex.join(["turnwise", *sys.argv[1:]]), "file": str(data), "split": loaded.split,
        "none_label": none_label, "quantize": quantize,
    }  # fmt: skip
    run = evaluate_classifier(classifier, loaded, base, metadata=settings)
    if out is not None:
        write_classifier_report(out, run.evaluation, notes=run.notes)
    console = Console(stderr=True, highlight=False)
    if loaded.split is not None:
        console.print(f"{data} is a split folder; its {loaded.split} split is used.", markup=False)
    if json_out:
        _print_notes(run, console)
        typer.echo(json.dumps(run.evaluation.as_dict(), indent=2, ensure_ascii=False))
    else:
        print_classifier_evaluation(run, Console(highlight=False))
    if out is not None:
        console.print(f"The report is {out / 'report.html'}.", markup=False)
    if fail_if_worse and run.evaluation.scorecard.verdict in ("worse", "mixed"):
        raise typer.Exit(1)


def print_classifier_evaluation(run: "ClassifierEvaluationRun", console: Any) -> None:
    """Print scores per label, the largest confusions, the calibration, the worst errors, and the verdict."""
    from turnwise.cli.scorecard_table import print_scorecard

    evaluation = run.evaluation
    title = "words" if evaluation.unit == "sentence" else "texts"
    for name, report in ((title, evaluation.labels), ("entities", evaluation.entities)):
        if report is not None:
            console.print(f"\n{name}:\n{report.as_table()}", markup=False, soft_wrap=True)
    _print_confusions(evaluation, console)
    _print_errors(evaluation, console)
    if evaluation.calibration is not None:
        error, base = evaluation.calibration.error, evaluation.base_calibration
        base_text = "" if base is None else f" (base: {base.error:.3f})"
        console.print(f"\nExpected calibration error: {error:.3f}{base_text}", markup=False)
    _print_notes(run, console)
    console.print()
    print_scorecard(evaluation.scorecard, console)


def _print_notes(run: "ClassifierEvaluationRun", console: Any) -> None:
    for note in run.notes:
        console.print(note, markup=False, soft_wrap=True)


def _print_confusions(evaluation: "ClassifierEvaluation", console: Any) -> None:
    confusions = [] if evaluation.confusions is None else evaluation.confusions.largest(NUM_CONFUSIONS)
    if not confusions:
        return
    console.print("\nmost frequent confusions (true → predicted):")
    for entry in confusions:
        share = f"{entry.count / entry.support:.0%} of {entry.target}"
        text = f"  {entry.count:5,}  {entry.target} → {entry.prediction}  ({share})"
        console.print(text, markup=False, soft_wrap=True)


def _print_errors(evaluation: "ClassifierEvaluation", console: Any) -> None:
    from turnwise.cli.console_output import one_line

    if not evaluation.errors:
        return
    console.print("\nworst errors:")
    for error in evaluation.errors[:NUM_ERRORS]:
        for line in _error_lines(error):
            console.print(f"  {one_line(line, MAX_TEXT)}", markup=False, soft_wrap=True)


def _error_lines(error: "TextError | SentenceError") -> list[str]:
    from turnwise.evaluation.classification.worst_errors import SentenceError

    if isinstance(error, SentenceError):
        target, prediction = (_bracketed(side) for side in (error.target, error.prediction))
        return [f"true       {target}", f"predicted  {prediction}  ({error.probability:.2f})"]
    return [f"{error.target} → {error.prediction} ({error.probability:.2f}): {error.text}"]


def _bracketed(pieces: "MarkedText") -> str:
    """The sentence with its spans in brackets, as `turnwise tag` prints it."""
    return " ".join(f"[{label} {text}]" if label else text for text, label in pieces)
