"""Progress bars with the remaining time for evaluations and other long steps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from turnwise.core.progress_log import ProgressLog

if TYPE_CHECKING:
    from turnwise.core.event_log import EventLog
    from turnwise.evaluation.evaluate import OnEvaluationProgress


@contextmanager
def progress_bar(console: Any, label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback for the number of finished items and their total.

    The bar is on the screen from the first item to the last, so that another bar can follow it.
    """
    progress = _progress(console)
    task = progress.add_task(label)
    log = ProgressLog(console)

    def on_progress(done: int, total: int) -> None:
        log.update(done, total, f"{label} {done:,}/{total:,}")
        progress.update(task, completed=done, total=total)
        (progress.start if done < total else progress.stop)()

    try:
        yield on_progress
    finally:
        progress.stop()


@contextmanager
def evaluation_progress(console: Any, events: "EventLog | None" = None) -> "Iterator[OnEvaluationProgress]":
    """Yield a callback that shows one bar per system and kind of query, and writes the progress to a log of events."""
    with _progress(console) as progress:
        tasks: dict[str, Any] = {}
        logs: dict[str, ProgressLog] = {}

        def on_progress(system: str, kind: str, done: int, total: int) -> None:
            if not total:
                return
            label = f"{system}: {kind}"
            if events is not None:
                events.write_progress("evaluation", done, total, system=system, kind=kind)
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total)
                logs[label] = ProgressLog(console)
            logs[label].update(done, total, f"{label} {done:,}/{total:,}")
            progress.update(tasks[label], completed=done, total=total)

        yield on_progress


@contextmanager
def download_progress(console: Any, name: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yield a callback for the bytes so far, the bytes in all, and what is being downloaded."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = progress.add_task(name)
    log = ProgressLog(console)

    def on_progress(done: int, total: int, label: str) -> None:
        if progress.tasks[0].total != total:
            log.start(done)
            progress.update(task, completed=done, total=total)
            progress.start()  # not before there is progress: a message may come first
        log.update(done, total, f"{name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
        progress.update(task, completed=done, description=f"{name}: {label}")

    try:
        yield on_progress
    finally:
        progress.stop()


def _progress(console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    return Progress(*columns, console=console, transient=True)
