"""The picture: quality and evaluator accuracy over diversity, a curve for each arm."""

from pathlib import Path

from arm_comparison import accuracy_curve, reply_curve, temperatures_of
from comparison_report import ExperimentResults
from model_measurements import reply_metrics

from turnwise.core.files import atomic_file
from turnwise.evaluation.statistics import bootstrap_interval

COLORS = ("#20242a", "#2a6b5b", "#c8551b", "#1f5fa8", "#a8322a", "#8a6fb3", "#6b8e23", "#b8860b")
MARKERS = "osD^vPX*"
PANELS = (
    ("chrf", "chrF  →  closer to the human replies", 1.0),
    ("gate_pass", "gate pass rate (%)", 100.0),
    ("ngrams", "accuracy of the fresh evaluator (%)\n50 cannot tell the replies from human ones", 100.0),
)
RESAMPLES = 999


def write_quality_figure(results: ExperimentResults, path: Path) -> None:
    """Draw chrF, the gate pass rate and the evaluator's accuracy over distinct-2 as PNG.

    The temperatures stand below the points of the reference only; the curves of several arms may be close.

    Args:
        results: the results.
        path: file to write.
    """
    from matplotlib.figure import Figure  # not pyplot, which needs a display

    figure = Figure(figsize=(15, 5), layout="constrained")
    metrics = {metric.NAME: metric for metric in reply_metrics()}
    human = float(metrics["distinct_2"].value(results.human["distinct_2"].sum(axis=0)))
    for axes, (name, label, scale) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for number, (arm, models) in enumerate(results.arms.items()):
            curve = reply_curve(models, metrics[name]) if name in metrics else accuracy_curve(models, name)
            diversity_T, values_T = curve.points(curve.sums_GK.sum(axis=0))
            color, temperatures = COLORS[number % len(COLORS)], temperatures_of(models)
            width = curve.sums_GK.shape[1] // len(temperatures)
            for index, x in enumerate(diversity_T):
                sums_GK = curve.sums_GK[:, index * width + 2 : (index + 1) * width]
                interval = bootstrap_interval(sums_GK, curve.metric.value, resamples=RESAMPLES)
                axes.plot([x, x], [scale * interval.low, scale * interval.high], color=color, linewidth=0.7, alpha=0.6)
            axes.plot(
                diversity_T, scale * values_T, color=color, marker=MARKERS[number % len(MARKERS)], markersize=5,
                linewidth=1.8 if arm == results.reference else 1.2, label=_label(arm, results.reference),
            )  # fmt: skip
            for index, temperature in enumerate(temperatures if arm == results.reference else ()):
                axes.annotate(
                    f"{temperature:g}", (diversity_T[index], scale * values_T[index]), xytext=(0, -14),
                    textcoords="offset points", ha="center", color=color, fontsize=8,
                )  # fmt: skip
        axes.axvline(human, color="#646a72", linestyle="--", linewidth=1, label="human replies")
        axes.set(xlabel="distinct-2  →  more diverse", ylabel=label)
        axes.grid(color="#e2dfd7")
        axes.spines[["right", "top"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(9, len(labels)), frameon=False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _label(arm: str, reference: str) -> str:
    return f"{arm} (the reference, with its temperatures)" if arm == reference else arm
