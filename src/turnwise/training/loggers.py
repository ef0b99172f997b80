"""Hooks that log a run: progress bar, metrics file and TensorBoard; and the plot of the loss."""

import json
import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from turnwise.core.files import atomic_write
from turnwise.core.progress_log import ProgressLog
from turnwise.training.hooks import StepReport, TrainerHook, ValidationReport, perplexity
from turnwise.training.reply_curves import LEGEND_BELOW, has_reply_curves, plot_reply_curves

METRICS_FILE, TENSORBOARD_DIR = "metrics.jsonl", "tensorboard"


class ProgressBarHook(TrainerHook):
    """Shows loss, tokens per second and remaining time; prints a line per validation."""

    def __init__(self, console: Console | None = None, *, unit: str = "token") -> None:
        self._console, self._unit = console or Console(stderr=True), unit
        self._progress = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.3f} · {task.fields[speed]:,.0f} tok/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = TaskID(0)
        self._loss: float | None = None
        self._lines = ProgressLog(self._console)
        self._total = 0

    def on_train_begin(self, *, total_steps: int, step: int) -> None:
        """Show the bar."""
        self._total = total_steps
        self._lines.start(step)
        self._task = self._progress.add_task("train", total=total_steps, completed=step, loss=float("nan"), speed=0)
        self._progress.start()

    def on_step_end(self, report: StepReport) -> None:
        """Advance the bar; it shows a running mean of the loss."""
        self._loss = report.loss if self._loss is None else 0.9 * self._loss + 0.1 * report.loss
        speed = report.useful_tokens / report.seconds
        self._progress.update(self._task, completed=report.step, loss=self._loss, speed=speed)
        self._lines.update(report.step, self._total, f"step {report.step}/{self._total}", f"loss {self._loss:.3f}")

    def on_evaluate(self, report: ValidationReport) -> None:
        """Print a line above the bar."""
        mark = " (best so far)" if report.is_best and report.step else ""
        with suppress(OSError):  # a terminal that closed must not end the run before its checkpoint
            self._console.print(
                f"step {report.step:>6}  validation loss {report.loss:.4f}  {self._more(report)}{mark}",
                highlight=False,
            )

    def _more(self, report: ValidationReport) -> str:
        perplexity = [f"perplexity {report.perplexity:.2f}"] if self._unit == "token" else []
        return "  ".join([*perplexity, *(f"{name} {value:.3f}" for name, value in report.extra_metrics.items())])

    def on_train_end(self) -> None:
        """Stop the bar."""
        with suppress(OSError):
            self._progress.stop()


class MetricsFileHook(TrainerHook):
    """Writes one JSON line per step and validation. A resumed run removes the lines after its checkpoint."""

    def __init__(self, work: Path) -> None:
        self._path = work / METRICS_FILE
        self._file: Any = None

    def on_train_begin(self, *, total_steps: int, step: int) -> None:  # noqa: ARG002
        """Open the file and drop the lines that a resumed run will write again."""
        lines = [line for line in read_metrics(self._path) if step and line["step"] <= step]
        atomic_write(self._path, "".join(json.dumps(line) + "\n" for line in lines))
        self._file = self._path.open("a")

    def on_step_end(self, report: StepReport) -> None:
        """Write a line."""
        self._write(
            step=report.step,
            loss=report.loss,
            learning_rate=report.learning_rate,
            grad_norm=report.grad_norm,
            tokens_per_second=report.useful_tokens / report.seconds,
            **report.extra_metrics,
        )

    def on_evaluate(self, report: ValidationReport) -> None:
        """Write a line."""
        more = {f"valid_{name}": value for name, value in report.extra_metrics.items()}
        self._write(step=report.step, valid_loss=report.loss, best=report.is_best, **more)

    def on_train_end(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, **values: Any) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        if "valid_loss" in values:
            os.fsync(self._file.fileno())


class TensorBoardHook(TrainerHook):
    """Curves for `tensorboard --logdir`."""

    def __init__(self, work: Path) -> None:
        self._folder = work / TENSORBOARD_DIR
        self._writer: Any = None

    def on_train_begin(self, *, total_steps: int, step: int) -> None:  # noqa: ARG002
        """Open the event file; a resumed run purges the events after its checkpoint."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1 if step else 0)

    def on_step_end(self, report: StepReport) -> None:
        """Log the training metrics."""
        self._writer.add_scalar("train/loss", report.loss, report.step)
        self._writer.add_scalar("train/learning_rate", report.learning_rate, report.step)
        self._writer.add_scalar("train/gradient_norm", report.grad_norm, report.step)
        self._writer.add_scalar("train/tokens_per_second", report.useful_tokens / report.seconds, report.step)
        for name, value in report.extra_metrics.items():
            self._writer.add_scalar(f"train/{name}", value, report.step)

    def on_evaluate(self, report: ValidationReport) -> None:
        """Log the validation metrics."""
        self._writer.add_scalar("valid/loss", report.loss, report.step)
        for name, value in (report.extra_metrics or {"perplexity": report.perplexity}).items():
            self._writer.add_scalar(f"valid/{name}", value, report.step)

    def on_train_end(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a metrics file; an incomplete last line (power failure) is ignored."""
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def read_loss_curve(path: Path) -> list[tuple[int, float, float | None]]:
    """Return (step, training loss, validation loss or None) for every step."""
    lines = read_metrics(path)
    valid = {line["step"]: line["valid_loss"] for line in lines if "valid_loss" in line}
    return [(line["step"], line["loss"], valid.get(line["step"])) for line in lines if "loss" in line]


def plot_loss(metrics: Path, target: Path, *, title: str, unit: str = "token") -> None:
    """Plot training and validation loss over the steps as PNG; below, the curves of a run on sampled replies."""
    from matplotlib.figure import Figure  # pyplot would need a display

    lines = read_metrics(metrics)
    steps = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    valid = [(line["step"], line["valid_loss"]) for line in lines if "valid_loss" in line]
    samples_replies = has_reply_curves(lines)
    figure = Figure(figsize=(8, 9 if samples_replies else 4.5), layout="constrained")
    axes, *more_axes = figure.subplots(2 if samples_replies else 1, squeeze=False)[:, 0]
    ylabel, trained = "cross-entropy per token (nats)" if unit == "token" else f"loss per {unit}", "training"
    if samples_replies:  # the loss of the objective is another quantity than that of the validation
        ylabel, trained = "loss", "loss of the objective"
        plot_reply_curves(more_axes[0], lines, _smooth)
    if steps:
        axes.plot(*zip(*steps, strict=True), color="#9db7d5", linewidth=0.8, label=f"{trained}, each step")
        axes.plot([s for s, _ in steps], _smooth([v for _, v in steps]), color="#1f5fa8", label=f"{trained}, smoothed")
    if valid:
        best = min(valid, key=lambda point: point[1])
        if samples_replies:  # the best by the replies, see `Objective.validation_score`
            best = ([(line["step"], line["valid_loss"]) for line in lines if line.get("best")] or [best])[-1]
        more = f" (perplexity {perplexity(best[1]):.2f})" if unit == "token" else ""
        name = "validation (human replies)" if samples_replies else "validation"
        label = f"{name}, best {best[1]:.3f}{more} after step {best[0]}"
        axes.plot(*zip(*valid, strict=True), color="#c8551b", marker="o", markersize=3, label=label)
        axes.plot(*best, color="#c8551b", marker="o", markersize=8, fillstyle="none")
    axes.set(xlabel="optimiser step", ylabel=ylabel)
    axes.set_title(title, parse_math=False)
    axes.grid(alpha=0.25)
    if steps or valid:
        axes.legend(**({**LEGEND_BELOW, "ncols": 1} if samples_replies else {}))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # e.g. a Chinese title is drawn as boxes
        figure.savefig(target, dpi=120)


def _smooth(values: list[float]) -> list[float]:
    smoothed: list[float] = []
    for i, value in enumerate(values):
        weight = max(0.05, 1 / (i + 1))  # mean so far, then of about the last twenty
        smoothed.append(value if not smoothed else smoothed[-1] + weight * (value - smoothed[-1]))
    return smoothed
