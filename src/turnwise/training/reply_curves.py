"""Curves of a run on sampled replies: reward, realism, gates, discriminator and distance from the start."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

COLORS = ("#1f5fa8", "#2f8f5b", "#8a5fb0", "#c8551b", "#b08a1f")
STEP_CURVES = {"reward": "reward", "realism": "realism", "gate_pass": "gate pass"}  # of a step's replies
VALID_CURVES = {"valid_gate_pass": "gate pass, held-out", "valid_pair_accuracy": "pair accuracy, held-out"}
KL_COLOR = "#777777"
# Curves fill the whole range, and those of a right axis would be drawn over a legend in it.
LEGEND_BELOW: dict[str, Any] = {
    "loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 3, "fontsize": "small",
}  # fmt: skip


def has_reply_curves(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the lines of a metrics file are those of a run on sampled replies."""
    return any("valid_gate_pass" in line or "gate_pass" in line for line in lines)


def plot_reply_curves(
    axes: Any, lines: Sequence[Mapping[str, Any]], smooth: Callable[[list[float]], list[float]]
) -> None:
    """Draw the curves that the lines of a metrics file have; shares from 0 to 1, the KL divergence on its own axis.

    Args:
        axes: axes of matplotlib.
        lines: lines of the file.
        smooth: smooths a list of values, one per step.
    """
    curves = [
        (label, _points(lines, name), name in STEP_CURVES) for name, label in (STEP_CURVES | VALID_CURVES).items()
    ]
    handles = []
    for color, (label, points, is_per_step) in zip(COLORS, curves, strict=True):
        if points:
            steps, values = zip(*points, strict=True)
            style = {} if is_per_step else {"marker": "o", "markersize": 3}
            handles += axes.plot(
                steps, smooth(list(values)) if is_per_step else values, color=color, label=label, **style
            )
    axes.set(xlabel="optimiser step", ylabel="share", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.25)
    if points := _points(lines, "kl"):
        steps, values = zip(*points, strict=True)
        right = axes.twinx()
        right.set_ylabel("KL divergence from the start (nats per token)")
        handles += right.plot(steps, smooth(list(values)), color=KL_COLOR, linestyle="--", label="kl (right)")
        right.set_ylim(bottom=0)
    axes.legend(handles=handles, **LEGEND_BELOW)


def _points(lines: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(line["step"], line[name]) for line in lines if name in line]
