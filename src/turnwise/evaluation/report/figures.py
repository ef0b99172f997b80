"""The figures of a report; the first one shows the differences between two models."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from turnwise.evaluation.report.curve_figures import LossPoint, loss_figure, temperature_figure
from turnwise.evaluation.report.number_format import format_difference
from turnwise.evaluation.report.svg import COLORS, ReportFigure, render_svg
from turnwise.evaluation.report.verdict_text import VERDICT_MARKS
from turnwise.evaluation.scorecard import Scorecard, ScorecardRow
from turnwise.evaluation.temperature_sweep import TemperaturePoint

DIFFERENCES = "differences"
AXIS_LIMIT = 6.0  # in half-widths of the interval; larger differences are drawn at the limit


def draw_figures(
    scorecard: Scorecard, temperature_sweep: Sequence[TemperaturePoint], loss_curve: Sequence[LossPoint]
) -> list[ReportFigure]:
    """Draw the figures for which there is data."""
    figures = difference_figures(scorecard)
    if temperature_sweep:
        figures.append(temperature_figure(temperature_sweep))
    if loss_curve:
        figures.append(loss_figure(loss_curve))
    return figures


def difference_figures(scorecard: Scorecard) -> list[ReportFigure]:
    """Draw the differences from the base; no figure without any."""
    rows = [row for row in scorecard.rows if row.better and _has_finite_interval(row)]
    return [_difference_figure(rows)] if rows else []


def _has_finite_interval(row: ScorecardRow) -> bool:
    interval = row.difference_interval
    return interval is not None and math.isfinite(interval.high - interval.low)


def _difference_figure(rows: Sequence[ScorecardRow]) -> ReportFigure:
    values = "; ".join(
        f"{row.label} {format_difference(row.difference, row.value_format)}, {row.verdict}" for row in rows
    )
    alt = f"Differences from the base with their intervals: {values}."
    size = (5.0, 0.9 + 0.25 * len(rows))
    return ReportFigure(
        DIFFERENCES,
        "Differences from the base",
        alt,
        "Right of the vertical line is better, for every metric. Each difference is divided by half the width of its "
        "95% interval, so that all metrics share one axis: the position shows how clear a difference is, not how large "
        "it is. The numbers on the right show the size, with ✓ for better, ✗ for worse and ≈ for no difference. Filled "
        "markers: the metric counts for the verdict. An interval may lie beside the line although the verdict is no "
        "difference, because of Holm's correction.",
        render_svg(DIFFERENCES, alt, size, partial(_draw_differences, rows)),
    )


def _draw_differences(rows: Sequence[ScorecardRow], figure: Any) -> None:
    axes = figure.subplots()
    limit = 1.0
    for y, row in enumerate(rows):
        x, low, high = _normalized(row)
        limit = max(limit, abs(low), abs(high))
        color = COLORS[{"better": "accent", "worse": "danger"}.get(row.verdict, "muted")]
        axes.plot([low, high], [y, y], color=color, linewidth=1.6, solid_capstyle="butt")
        marker = "o" if abs(x) < AXIS_LIMIT else "<>"[x > 0]  # arrowheads point beyond the axis
        fill = color if row.counts_for_verdict else COLORS["raised"]
        axes.plot(x, y, marker, color=color, markersize=6, markerfacecolor=fill)
        label = f"{format_difference(row.difference, row.value_format)} {VERDICT_MARKS[row.verdict]}"
        axes.annotate(label, (1.02, y), xycoords=("axes fraction", "data"), va="center", color=color)
    axes.axvline(0, color=COLORS["text"], linewidth=0.8)
    limit = min(AXIS_LIMIT, limit) * 1.08
    axes.set(
        xlim=(-limit, limit), ylim=(len(rows) - 0.4, -0.6), xlabel="← worse | better →\nhalf-widths of the interval"
    )
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.tick_params(axis="y", length=0, labelcolor=COLORS["text"])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _normalized(row: ScorecardRow) -> tuple[float, float, float]:
    """Difference and interval in half-widths of the interval, positive for better, clipped to the axis."""
    assert row.difference is not None
    assert row.difference_interval is not None
    sign = 1 if row.better == "higher" else -1
    low, high = row.difference_interval.low, row.difference_interval.high
    # If all dialogues have the same difference, the interval has no width: draw the difference at the limit.
    half_width = (high - low) / 2 or abs(row.difference) / AXIS_LIMIT or 1.0
    x, low, high = (
        max(-AXIS_LIMIT, min(AXIS_LIMIT, sign * value / half_width)) for value in (row.difference, low, high)
    )
    return x, min(low, high), max(low, high)
