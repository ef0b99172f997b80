"""The report of an evaluation: `report.html` and `report.md` for people, `scorecard.json` for programs."""

import json
from collections.abc import Sequence
from pathlib import Path

from turnwise.core.files import atomic_write
from turnwise.evaluation.evaluate import Evaluation
from turnwise.evaluation.report.curve_figures import LOSS_CURVE, TEMPERATURE_SWEEP, LossPoint
from turnwise.evaluation.report.figures import DIFFERENCES, draw_figures
from turnwise.evaluation.report.page import build_page
from turnwise.evaluation.report.rendering import render_html, render_markdown
from turnwise.evaluation.report.svg import standalone_svg

SCORECARD, HTML, MARKDOWN = "scorecard.json", "report.html", "report.md"


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
    page = build_page(scorecard, evaluation.model, evaluation.base, figures)
    scorecard_json = json.dumps(scorecard.as_dict(), indent=2, ensure_ascii=False, default=str)
    atomic_write(folder / SCORECARD, scorecard_json.encode("utf-8", "replace") + b"\n")
    atomic_write(folder / HTML, render_html(page))
    for figure in figures:
        atomic_write(folder / f"{figure.name}.svg", standalone_svg(figure.svg))
    for name in {DIFFERENCES, TEMPERATURE_SWEEP, LOSS_CURVE} - {figure.name for figure in figures}:
        (folder / f"{name}.svg").unlink(missing_ok=True)  # of an earlier report in this folder
    atomic_write(folder / MARKDOWN, render_markdown(page))
