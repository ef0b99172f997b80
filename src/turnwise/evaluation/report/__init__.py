"""The report of an evaluation for people, beside the scorecard for programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from turnwise.core.files import atomic_write
from turnwise.evaluation.metric_runner import MetricResult
from turnwise.evaluation.report.curve_figures import CURVE, LOSS
from turnwise.evaluation.report.figures import DIFFERENCES, pictures
from turnwise.evaluation.report.page import page_of
from turnwise.evaluation.report.rendering import html, markdown
from turnwise.evaluation.report.svg import alone
from turnwise.evaluation.scorecard import Scorecard
from turnwise.evaluation.temperature_curve import TemperaturePoint

SCORECARD, HTML, MARKDOWN = "scorecard.json", "report.html", "report.md"


def write_report(
    folder: Path,
    card: Scorecard,
    model: Mapping[str, MetricResult],
    base: Mapping[str, MetricResult] | None,
    *,
    curve: Sequence[TemperaturePoint] = (),
    loss: Sequence[tuple[int, float, float | None]] = (),
) -> None:
    """Write `scorecard.json`, `report.html` (one file that needs no other) and `report.md` with its pictures.

    Each file is written whole or not at all, and the same measurements give the same bytes.

    Args:
        folder: where; made if need be.
        card: the scorecard of `model` and `base`. Of its `about`, "model" and "base" are their names.
        model, base: what was measured, for the answers.
        curve: quality and variety by temperature, if that was measured.
        loss: of a training: step, training loss, validation loss.

    Raises:
        SaveFailed: the disk refuses.
    """
    drawn = pictures(card, curve, loss)
    page = page_of(card, model, base, drawn)
    plain = json.dumps(card.as_dict(), indent=2, ensure_ascii=False, default=str)
    atomic_write(folder / SCORECARD, plain.encode("utf-8", "replace") + b"\n")
    atomic_write(folder / HTML, html(page))
    for picture in drawn:
        atomic_write(folder / f"{picture.name}.svg", alone(picture.svg))
    for name in {DIFFERENCES, CURVE, LOSS} - {picture.name for picture in drawn}:
        (folder / f"{name}.svg").unlink(missing_ok=True)  # of an earlier report in this place
    atomic_write(folder / MARKDOWN, markdown(page))
