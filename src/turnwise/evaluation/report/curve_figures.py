"""Pictures of points along a line: quality against variety, and the loss of a training."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from turnwise.evaluation.report.svg import COLOURS, Picture, render_svg
from turnwise.evaluation.temperature_curve import TemperaturePoint

CURVE, LOSS = "curve", "loss"
LossPoint = tuple[int, float, float | None]


def curve_picture(points: Sequence[TemperaturePoint]) -> Picture:
    """Quality against variety."""
    points = _apart(points)
    told = "; ".join(
        f"{point.subject} at {point.temperature:g}: chrF {point.chrf:.2f}, distinct-2 {point.distinct_2:.3f}"
        for point in points
    )
    alt = f"Quality against variety by temperature: {told}."
    return Picture(
        CURVE,
        "Quality and variety over temperature",
        alt,
        "Up: answers nearer to what was said (chrF, with its interval). Right: more different pairs of words "
        "(distinct-2). The figure at a point is the temperature. A curve farther up and right is better throughout.",
        render_svg(CURVE, alt, (5.0, 3.4), partial(_draw_curve, points)),
    )


def _apart(points: Sequence[TemperaturePoint]) -> list[TemperaturePoint]:
    """With another name where one is had twice: what comes second at a temperature is the base's."""
    seen: set[tuple[str, float]] = set()
    found = []
    for point in points:
        again = (point.subject, point.temperature) in seen
        seen.add((point.subject, point.temperature))
        found.append(replace(point, subject=f"{point.subject} (base)") if again else point)
    return found


def _draw_curve(points: Sequence[TemperaturePoint], figure: Any) -> None:
    axes = figure.subplots()
    colours = [COLOURS[name] for name in ("accent", "second", "danger", "muted")]
    for number, subject in enumerate(dict.fromkeys(point.subject for point in points)):
        own = sorted((point for point in points if point.subject == subject), key=lambda point: point.temperature)
        colour, marker = colours[number % 4], "osD^"[number % 4]
        by, side, edge = ((-5, -5), "right", "top") if number % 2 == 0 else ((5, 5), "left", "bottom")
        for point in own:
            between = point.chrf_interval
            axes.plot([point.distinct_2] * 2, [between.low, between.high], color=colour, linewidth=0.8)
            at = (point.distinct_2, point.chrf)
            where = {"xytext": by, "textcoords": "offset points", "ha": side, "va": edge}
            axes.annotate(f"{point.temperature:g}", at, color=colour, **where)
        line = [point.distinct_2 for point in own], [point.chrf for point in own]
        axes.plot(*line, color=colour, marker=marker, markersize=5, linewidth=1.4, label=subject)
    axes.set(xlabel="distinct-2  →  more variety", ylabel="chrF  →  nearer to what was said")
    axes.margins(x=0.1)  # room for the figures beside the points
    axes.grid()
    axes.legend()


def loss_picture(points: Sequence[LossPoint]) -> Picture:
    """Training and validation over the steps."""
    valid = [(each, step) for step, _, each in points if each is not None]
    best = f" Validation was lowest, {min(valid)[0]:.3f}, after step {min(valid)[1]}." if valid else ""
    alt = f"Loss of {len(points)} steps of training, from {points[0][1]:.3f} to {points[-1][1]:.3f}.{best}"
    return Picture(
        LOSS, "Loss of the training", alt, alt, render_svg(LOSS, alt, (5.0, 2.8), partial(_draw_loss, points))
    )


def _draw_loss(points: Sequence[LossPoint], figure: Any) -> None:
    axes = figure.subplots()
    axes.plot(
        [step for step, *_ in points],
        [train for _, train, _ in points],
        color=COLOURS["accent"],
        linewidth=1.0,
        label="training",
    )
    valid = [(step, each) for step, _, each in points if each is not None]
    if valid:
        axes.plot(*zip(*valid, strict=True), color=COLOURS["second"], marker="s", markersize=3.5, label="validation")
    axes.set(xlabel="step", ylabel="loss")
    axes.grid()
    axes.legend()
