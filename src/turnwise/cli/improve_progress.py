"""Progress of a cycle of improvement on the terminal: a line per step, and a bar with the remaining time."""

from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from turnwise.core.progress_log import ProgressLog
from turnwise.training.hooks import StepReport, TrainerHook


class ConsoleProgress:
    """Shows the progress of a cycle (implements `improve.progress.CycleProgress`).

    A context manager, so that an error also removes the bar. A terminal that closed does not end the cycle.
    """

    def __init__(self, console: Any) -> None:
        self._console = console
        self._log = ProgressLog(console)
        self._bar: Progress | None = None
        self._label = ""

    def __enter__(self) -> "ConsoleProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_bar()

    def on_step(self, step: str, description: str) -> None:  # noqa: ARG002
        """Print the description."""
        self._end_bar()
        with suppress(OSError):
            self._console.print(f"{description} …", markup=False, highlight=False)

    def on_count(self, what: str, done: int, total: int) -> None:
        """Advance the bar of `what`."""
        if what != self._label:
            self._end_bar()
            self._label = what
            self._log.start(done)
        self._log.update(done, total, f"{what} {done:,}/{total:,}")
        if not self._console.is_terminal or not total:
            return
        with suppress(OSError):
            if self._bar is None:
                self._bar = _start_bar(self._console, what)
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self._end_bar()

    def trainer_hooks(self, stage: str) -> list[TrainerHook]:  # noqa: ARG002
        """A hook that advances the bar with the steps of the training."""
        return [_StepHook(self)]

    def _end_bar(self) -> None:
        self._label = ""
        if self._bar is not None:
            with suppress(OSError):
                self._bar.stop()
            self._bar = None


def _start_bar(console: Any, label: str) -> Progress:
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip
    bar.add_task(label)
    bar.start()
    return bar


class _StepHook(TrainerHook):
    """Passes the steps of a training to the bar."""

    def __init__(self, progress: ConsoleProgress) -> None:
        self._progress, self._total = progress, 0

    def on_train_begin(self, *, total_steps: int, step: int) -> None:
        """Start the bar at the step that the training continues with."""
        self._total = total_steps
        self._progress.on_count("training steps", step, total_steps)

    def on_step_end(self, report: StepReport) -> None:
        """Advance the bar."""
        self._progress.on_count("training steps", report.step, self._total)
