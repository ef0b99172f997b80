"""The pictures of a report, the first of which shows how far apart two models are."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from turnwise.evaluation.report.curve_figures import LossPoint, curve_picture, loss_picture
from turnwise.evaluation.report.number_format import change
from turnwise.evaluation.report.svg import COLOURS, Picture, render_svg
from turnwise.evaluation.report.verdict_text import MARKS
from turnwise.evaluation.scorecard import Scorecard, ScorecardRow
from turnwise.evaluation.temperature_curve import TemperaturePoint

DIFFERENCES = "differences"
EDGE = 6.0  # half-widths; what is farther stands at the edge


def pictures(card: Scorecard, curve: Sequence[TemperaturePoint], loss: Sequence[LossPoint]) -> list[Picture]:
    """Those for which there is something to draw."""
    found = []
    if lines := [line for line in card.rows if line.better and _is_known(line)]:
        found.append(_differences(lines))
    if curve:
        found.append(curve_picture(curve))
    if loss:
        found.append(loss_picture(loss))
    return found


def _is_known(line: ScorecardRow) -> bool:
    between = line.difference_interval
    return between is not None and math.isfinite(between.high - between.low)


def _differences(lines: Sequence[ScorecardRow]) -> Picture:
    told = "; ".join(f"{line.label} {change(line.difference, line.value_format)}, {line.verdict}" for line in lines)
    alt = f"Differences to the base with their intervals: {told}."
    size = (5.0, 0.9 + 0.25 * len(lines))
    return Picture(
        DIFFERENCES,
        "Differences to the base",
        alt,
        "Right of the line is better, whichever way a metric counts. Each difference is divided by half of its own "
        "95% interval, so that all share an axis: it says how clear a difference is, not how large; the figures at the "
        "right do, with ✓ for better, ✗ for worse and ≈ for no difference. Filled: the verdict rests on it. An "
        "interval may miss the line where Holm's correction still says no difference.",
        render_svg(DIFFERENCES, alt, size, partial(_draw_differences, lines)),
    )


def _draw_differences(lines: Sequence[ScorecardRow], figure: Any) -> None:
    axes = figure.subplots()
    reach = 1.0
    for row, line in enumerate(lines):
        at, low, high = _scaled(line)
        reach = max(reach, abs(low), abs(high))
        colour = COLOURS[{"better": "accent", "worse": "danger"}.get(line.verdict, "muted")]
        axes.plot([low, high], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
        marker = "o" if abs(at) < EDGE else "<>"[at > 0]
        axes.plot(
            at,
            row,
            marker,
            color=colour,
            markersize=6,
            markerfacecolor=colour if line.counts_for_verdict else COLOURS["raised"],
        )
        told = f"{change(line.difference, line.value_format)} {MARKS[line.verdict]}"
        axes.annotate(told, (1.02, row), xycoords=("axes fraction", "data"), va="center", color=colour)
    axes.axvline(0, color=COLOURS["text"], linewidth=0.8)
    reach = min(EDGE, reach) * 1.08
    axes.set(
        xlim=(-reach, reach), ylim=(len(lines) - 0.4, -0.6), xlabel="← worse | better →\nhalf-widths of the interval"
    )
    axes.set_yticks(range(len(lines)), [line.label for line in lines])
    axes.tick_params(axis="y", length=0, labelcolor=COLOURS["text"])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _scaled(line: ScorecardRow) -> tuple[float, float, float]:
    """Difference and interval in half-widths, better to the right, within the edges."""
    assert line.difference is not None
    assert line.difference_interval is not None
    sign = 1 if line.better == "higher" else -1
    low, high = line.difference_interval.low, line.difference_interval.high
    width = (high - low) / 2 or abs(line.difference) / EDGE or 1.0  # where all dialogues are alike it has none
    at, low, high = (max(-EDGE, min(EDGE, sign * end / width)) for end in (line.difference, low, high))
    return at, min(low, high), max(low, high)
