"""The reliability diagram of a classifier (Niculescu-Mizil & Caruana 2005): accuracy by confidence."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from turnwise.evaluation.classification.calibration import NUM_BINS, Calibration
from turnwise.evaluation.report.svg import COLORS, ReportFigure, render_svg

RELIABILITY = "reliability"
MAX_NAME = 32  # characters of a name in the legend

NamedCalibration = tuple[str, Calibration]
"""The name of a system and its calibration."""


def reliability_figure(systems: Sequence[NamedCalibration]) -> ReportFigure:
    """Draw the accuracy of predictions by their confidence, one line per system."""
    errors = "; ".join(f"{name} {calibration.error:.3f}" for name, calibration in systems)
    alt = f"Accuracy by confidence. Expected calibration error: {errors}."
    return ReportFigure(
        RELIABILITY,
        "Calibration",
        alt,
        f"Predictions in {NUM_BINS} bins by the probability of the predicted label, and the share of right ones. "
        "On the diagonal a probability is what it says. Below it the classifier is overconfident, above it "
        "underconfident. "
        "Larger points stand for more predictions.",
        render_svg(RELIABILITY, alt, (4.2, 3.6), partial(_draw, systems)),
    )


def _shorten(name: str) -> str:
    """The end of a name, such as a path, that fits into the legend."""
    return name if len(name) <= MAX_NAME else f"…{name[1 - MAX_NAME :]}"


def _draw(systems: Sequence[NamedCalibration], figure: Any) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=COLORS["muted"], linewidth=0.8, linestyle="--")
    colors = [COLORS[name] for name in ("accent", "second")]
    for (name, calibration), color, marker in zip(systems, colors, "os", strict=False):
        x, y = ([getattr(entry, key) for entry in calibration.bins] for key in ("confidence", "accuracy"))
        axes.plot(x, y, color=color, linewidth=1.2, label=_shorten(name))
        for entry in calibration.bins:
            size = 3 + 9 * (entry.count / calibration.count) ** 0.5
            axes.plot(entry.confidence, entry.accuracy, marker, color=color, markersize=size)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability of the predicted label", ylabel="share right")
    axes.grid()
    axes.set_axisbelow(True)
    if len(systems) > 1:
        axes.legend(loc="upper left")
