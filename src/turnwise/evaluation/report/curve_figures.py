"""Line figures of a report: the temperature sweep, and the loss of a training run."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from turnwise.evaluation.report.svg import COLORS, ReportFigure, render_svg
from turnwise.evaluation.temperature_sweep import TemperaturePoint

TEMPERATURE_SWEEP, LOSS_CURVE = "temperature_sweep", "loss"

LossPoint = tuple[int, float, float | None]
"""Step, training loss, and validation loss where it was measured."""


def temperature_figure(points: Sequence[TemperaturePoint]) -> ReportFigure:
    """Draw quality against diversity, one line per system."""
    points = _with_distinct_names(points)
    values = "; ".join(
        f"{point.system} at {point.temperature:g}: chrF {point.chrf:.2f}, distinct-2 {point.distinct_2:.3f}"
        for point in points
    )
    alt = f"Quality and diversity by temperature: {values}."
    return ReportFigure(
        TEMPERATURE_SWEEP,
        "Quality and diversity by temperature",
        alt,
        "Vertical axis: similarity to the reference replies (chrF) with its confidence interval. Horizontal axis: "
        "share of distinct word pairs (distinct-2). The number at a point is the temperature. A curve above and "
        "to the right of another one is better at every temperature.",
        render_svg(TEMPERATURE_SWEEP, alt, (5.0, 3.4), partial(_draw_temperature_sweep, points)),
    )


def _with_distinct_names(points: Sequence[TemperaturePoint]) -> list[TemperaturePoint]:
    """Rename the base's points if both systems have the same name; the model's points come first."""
    seen: set[tuple[str, float]] = set()
    renamed = []
    for point in points:
        is_base = (point.system, point.temperature) in seen
        seen.add((point.system, point.temperature))
        renamed.append(replace(point, system=f"{point.system} (base)") if is_base else point)
    return renamed


def _draw_temperature_sweep(points: Sequence[TemperaturePoint], figure: Any) -> None:
    axes = figure.subplots()
    colors = [COLORS[name] for name in ("accent", "second", "danger", "muted")]
    for number, system in enumerate(dict.fromkeys(point.system for point in points)):
        line = sorted((point for point in points if point.system == system), key=lambda point: point.temperature)
        color, marker = colors[number % 4], "osD^"[number % 4]
        # Labels of two systems stand on opposite sides of the points, so that they do not overlap.
        offset, side, edge = ((-5, -5), "right", "top") if number % 2 == 0 else ((5, 5), "left", "bottom")
        for point in line:
            interval = point.chrf_interval
            axes.plot([point.distinct_2] * 2, [interval.low, interval.high], color=color, linewidth=0.8)
            style = {"xytext": offset, "textcoords": "offset points", "ha": side, "va": edge}
            axes.annotate(f"{point.temperature:g}", (point.distinct_2, point.chrf), color=color, **style)
        axes.plot(
            [point.distinct_2 for point in line],
            [point.chrf for point in line],
            color=color,
            marker=marker,
            markersize=5,
            linewidth=1.4,
            label=system,
        )
    axes.set(xlabel="distinct-2  →  more diverse", ylabel="chrF  →  closer to the references")
    axes.margins(x=0.1)  # space for the temperatures beside the points
    axes.grid()
    axes.legend()


def loss_figure(points: Sequence[LossPoint]) -> ReportFigure:
    """Draw training and validation loss by step."""
    validation = [(loss, step) for step, _, loss in points if loss is not None]
    best = (
        f" The lowest validation loss is {min(validation)[0]:.3f}, after step {min(validation)[1]}."
        if validation
        else ""
    )
    alt = f"Training loss over {len(points)} logged steps, from {points[0][1]:.3f} to {points[-1][1]:.3f}.{best}"
    svg = render_svg(LOSS_CURVE, alt, (5.0, 2.8), partial(_draw_loss_curve, points))
    return ReportFigure(LOSS_CURVE, "Training loss", alt, alt, svg)


def _draw_loss_curve(points: Sequence[LossPoint], figure: Any) -> None:
    axes = figure.subplots()
    axes.plot(
        [step for step, *_ in points],
        [loss for _, loss, _ in points],
        color=COLORS["accent"],
        linewidth=1.0,
        label="training",
    )
    validation = [(step, loss) for step, _, loss in points if loss is not None]
    if validation:
        axes.plot(
            *zip(*validation, strict=True), color=COLORS["second"], marker="s", markersize=3.5, label="validation"
        )
    axes.set(xlabel="step", ylabel="loss")
    axes.grid()
    axes.legend(loc="upper right")
