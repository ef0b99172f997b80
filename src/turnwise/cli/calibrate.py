"""`turnwise calibrate`: fit temperature and threshold of a classifier to held-out texts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.data_flags import SkipBadRows, annotation_source_flags
from turnwise.cli.shared_flags import Threads

if TYPE_CHECKING:
    from turnwise.app.classifier_calibration import CalibrationResult, ThresholdResult
    from turnwise.data.read_options import ReadOptions
    from turnwise.models.classifier_config import ClassifierConfig

DEFAULT_MAX_FALSE_ALARMS = 0.02


@annotation_source_flags
def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a trained classifier of texts.")],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Labelled texts that the classifier was not trained on: a file, a folder, or a split folder (its "
            "validation split, else its test split). On training texts it looks surer and better than it is.",
        ),
    ],
    none_label: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="Label of the texts in DATA that belong to none of the known labels. A classifier that was trained "
            "with a `none_label` knows that one.",
        ),
    ] = None,
    out_of_scope: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Texts that belong to none of the labels: a text per line, or JSON lines with the key `text`.",
        ),
    ] = None,
    max_false_alarms: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Choose the threshold so that at most this share of the labelled texts is refused. Default: "
            f"{DEFAULT_MAX_FALSE_ALARMS} with --none-label or --out-of-scope, if the classifier was not trained with a "
            "`none_label`; otherwise no threshold is chosen.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the result, and leave the classifier as it is.")
    ] = False,
    skip_bad_rows: SkipBadRows = False,
    threads: Threads = None,
    *,
    data_options: "ReadOptions",
) -> None:
    """Fit the temperature of a classifier to held-out texts, and choose the threshold for "none of these".

    Both are written into `classifier.json`. Use texts that the classifier was not trained on: its validation data will
    do, its training data will not.

    **Examples**

    ```
    turnwise calibrate runs/intents valid.csv
    turnwise calibrate runs/intents valid.csv --none-label oos
    turnwise calibrate runs/intents valid.csv --out-of-scope small_talk.txt --max-false-alarms 0.05 --dry-run
    ```
    """
    from rich.console import Console

    from turnwise.app.classifier_calibration import calibrate_classifier, check_can_calibrate
    from turnwise.app.classifier_data import load_classifier_data
    from turnwise.app.classifiers import open_classifier
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.cli.classify import read_text_file
    from turnwise.core.errors import InvalidData, InvalidParameter
    from turnwise.models.bundled_models import bundled_model_at
    from turnwise.models.classifier_config import read_classifier_config, write_calibration

    folder = resolve_model_folder(model)
    config = read_classifier_config(folder)
    check_can_calibrate(config)
    if not dry_run and bundled_model_at(folder) is not None:
        raise InvalidParameter(
            "model", f"{model} comes with the package: copy {folder} and calibrate the copy, or use --dry-run."
        )
    loaded = load_classifier_data(
        data, config, data_options, splits=("valid", "test"), none_label=none_label, skip_bad_rows=skip_bad_rows
    )
    outside = [] if out_of_scope is None else list(read_text_file(out_of_scope))
    if out_of_scope is not None and not outside:
        raise InvalidData(f"{out_of_scope} holds no texts.")
    if none_label is not None and not any(not text.labels for text in loaded.texts):
        raise InvalidData(f"{data} has no text with the label '{none_label}'.")
    if max_false_alarms is None and config.none_label is None and (none_label is not None or outside):
        max_false_alarms = DEFAULT_MAX_FALSE_ALARMS
    classifier = open_classifier(str(folder), threads=threads)
    result = calibrate_classifier(classifier, loaded.texts, outside, max_false_alarms=max_false_alarms)
    console = Console(highlight=False)
    if loaded.split is not None:
        console.print(f"Texts of the split '{loaded.split}' of {data}.", markup=False, soft_wrap=True)
    for note in loaded.notes():
        console.print(note, markup=False, soft_wrap=True)
    _print_result(result, config, max_false_alarms, console)
    if dry_run:
        console.print("Nothing was written (--dry-run).")
        return
    if result.is_at_limit:
        raise InvalidData("Nothing was written: no temperature fits these texts.")
    write_calibration(folder, result.config)
    console.print(f"Written to {folder / 'classifier.json'}.", markup=False, soft_wrap=True)


def _print_result(
    result: "CalibrationResult", old: "ClassifierConfig", max_false_alarms: float | None, console: Any
) -> None:
    from rich.table import Table

    table = Table("", "before", "after")
    table.add_row("temperature", f"{old.temperature:.3f}", f"{result.config.temperature:.3f}")
    table.add_row("expected calibration error", f"{result.error_before:.3f}", f"{result.error_after:.3f}")
    table.add_row("in-scope accuracy", f"{result.before.accuracy:.1%}", f"{result.after.accuracy:.1%}")
    table.add_row("in-scope texts refused", f"{result.before.false_alarms:.1%}", f"{result.after.false_alarms:.1%}")
    if result.num_out_of_scope:
        table.add_row("recall of out-of-scope texts", _format_recall(result.before), _format_recall(result.after))
    console.print(f"{result.num_texts:,} texts with a label, {result.num_out_of_scope:,} out of scope.")
    console.print(table)
    if result.config.threshold is not None:
        score = f"{result.config.threshold_score} below {result.config.threshold:.3f}"
        console.print(f"A text is refused (no label) if its score is too low: {score}.", soft_wrap=True)
    elif result.config.none_label is not None:
        console.print("A text is refused (no label) if none is more probable than every label.", soft_wrap=True)
    if result.config.threshold is None and old.threshold:
        console.print(
            "The threshold was removed: it was for the probabilities of the old temperature. Choose a new one with "
            "--max-false-alarms.",
            soft_wrap=True,
        )
    for warning in _warnings(result, max_false_alarms):
        console.print(warning, soft_wrap=True)


def _format_recall(result: "ThresholdResult") -> str:
    assert result.recall is not None
    assert result.recall_interval is not None
    return f"{result.recall:.1%} ({result.recall_interval.low:.1%} to {result.recall_interval.high:.1%})"


def _warnings(result: "CalibrationResult", max_false_alarms: float | None) -> list[str]:
    """Sentences about results that do not mean much."""
    sentences = []
    if result.is_at_limit:
        sentences.append(
            "The temperature is at the limit of the search: nearly all texts are right, or nearly all are wrong. "
            "Were they training texts?"
        )
    if max_false_alarms and result.num_texts * max_false_alarms < 1:
        sentences.append(
            f"{result.num_texts:,} texts are too few for a share of {max_false_alarms:.1%}: "
            "the threshold is their lowest score."
        )
    return sentences
