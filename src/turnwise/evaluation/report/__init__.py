"""The report of an evaluation: `report.html` and `report.md` for people, `scorecard.json` for programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnwise.core.files import atomic_write
from turnwise.evaluation.classification.classifier_evaluation import ClassifierEvaluation
from turnwise.evaluation.evaluate import Evaluation
from turnwise.evaluation.report.chat_page import build_chat_page
from turnwise.evaluation.report.classifier_page import build_classifier_page
from turnwise.evaluation.report.curve_figures import LOSS_CURVE, TEMPERATURE_SWEEP, LossPoint, loss_figure
from turnwise.evaluation.report.figures import DIFFERENCES, difference_figures, draw_figures
from turnwise.evaluation.report.page import ReportPage, system_names
from turnwise.evaluation.report.reliability_figure import RELIABILITY, reliability_figure
from turnwise.evaluation.report.rendering import render_html, render_markdown
from turnwise.evaluation.report.svg import standalone_svg

SCORECARD, HTML, MARKDOWN = "scorecard.json", "report.html", "report.md"
FIGURES = frozenset({DIFFERENCES, TEMPERATURE_SWEEP, LOSS_CURVE, RELIABILITY})


def write_report(folder: Path, evaluation: Evaluation, *, loss_curve: Sequence[LossPoint] = ()) -> None:
    """Write `scorecard.json`, `report.html` (self-contained), `report.md` and its SVG figures.

    Each file is replaced atomically. Equal evaluations give equal bytes.

    Args:
        folder: the output folder; it is created if it does not exist.
        evaluation: the evaluation.
        loss_curve: step, training loss and validation loss of a training run, for a figure.

    Raises:
        SaveFailed: a file cannot be written.
    """
    scorecard = evaluation.scorecard
    figures = draw_figures(scorecard, evaluation.temperature_sweep, loss_curve)
    page = build_chat_page(scorecard, evaluation.model, evaluation.base, figures)
    _write_files(folder, page, "chat", scorecard.as_dict())


def write_classifier_report(
    folder: Path,
    evaluation: ClassifierEvaluation,
    *,
    notes: Sequence[str] = (),
    loss_curve: Sequence[LossPoint] = (),
) -> None:
    """Write the report on a classifier; files and errors as for `write_report`.

    Args:
        folder: the output folder; it is created if it does not exist.
        evaluation: the evaluation.
        notes: sentences about the data, for the top of the page.
        loss_curve: step, training loss and validation loss of a training run, for a figure.
    """
    figures = difference_figures(evaluation.scorecard)
    calibrations = zip(
        system_names(evaluation.scorecard), (evaluation.calibration, evaluation.base_calibration), strict=True
    )
    if systems := [(name, calibration) for name, calibration in calibrations if calibration is not None]:
        figures.append(reliability_figure(systems))
    if loss_curve:
        figures.append(loss_figure(loss_curve))
    page = build_classifier_page(evaluation, figures, notes)
    _write_files(folder, page, "classifier", evaluation.as_dict() | {"notes": list(notes)})


def _write_files(folder: Path, page: ReportPage, template: str, values: Mapping[str, Any]) -> None:
    """Write the files, and delete figures of an earlier report in this folder."""
    content = json.dumps(values, indent=2, ensure_ascii=False, default=str)
    atomic_write(folder / SCORECARD, content.encode("utf-8", "replace") + b"\n")
    atomic_write(folder / HTML, render_html(page, template))
    for figure in page.figures:
        atomic_write(folder / f"{figure.name}.svg", standalone_svg(figure.svg))
    for name in FIGURES - {figure.name for figure in page.figures}:
        (folder / f"{name}.svg").unlink(missing_ok=True)
    atomic_write(folder / MARKDOWN, render_markdown(page, template))
