"""What commands that measure models share: the cache of answers, bars, and a scorecard on the terminal."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnwise.core.progress_log import ProgressLog

if TYPE_CHECKING:
    from turnwise.evaluation.evaluate import OnEvaluationProgress
    from turnwise.evaluation.judge_summary import JudgeSummary
    from turnwise.evaluation.scorecard import Scorecard, ScorecardRow
    from turnwise.evaluation.statistics import ConfidenceInterval

# Nothing else is imported up here: the help must answer at once.

MAX_ANSWER_TOKENS = 128  # tokens of an answer at most, unless said otherwise
MISSING_VALUE = "–"  # for what is no number


def print_scorecard(card: "Scorecard", console: Any) -> None:
    """Print a scorecard: the verdict, then the metrics."""
    from rich.table import Table

    compared = any(line.base_value is not None for line in card.rows)
    if compared:
        colour = {"better": "green", "worse": "red", "mixed": "yellow"}.get(card.verdict or "", "")
        console.print(f"Verdict: {card.verdict or 'none'}", style=f"bold {colour}".strip(), highlight=False)
        for reason in card.reasons:
            console.print(reason, markup=False, highlight=False)
    table = Table("metric", "value", *(("before", "difference", "") if compared else ("95 %",)))
    for line in card.rows:
        table.add_row(
            line.label,
            _format_number(line.value, line.value_format),
            *(_compared(line) if compared else [_range(line)]),
        )
    console.print(table)
    if card.judge is not None:
        _print_judge_summary(card.judge, console)


def _print_judge_summary(found: "JudgeSummary", console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from turnwise.evaluation.report.judge_section import judge_section

    told = judge_section(found)
    table = Table("judge", "value", "95 %")
    for name, value, span, _ in told.rows:
        table.add_row(name, value, Text(span))  # brackets are no markup
    console.print(told.title, markup=False, highlight=False)
    console.print(told.about, markup=False, highlight=False)
    console.print(table)


def _compared(line: "ScorecardRow") -> list[str]:
    if line.base_value is None or line.difference is None or line.difference_interval is None:
        return ["", "", ""]
    found = line.difference_interval
    signed = f"+{line.value_format}"
    between = (
        f" ({_format_number(found.low, signed)} to {_format_number(found.high, signed)})" if _is_finite(found) else ""
    )
    return [
        _format_number(line.base_value, line.value_format),
        _format_number(line.difference, signed) + between,
        line.verdict if line.counts_for_verdict else f"({line.verdict})" * bool(line.verdict),
    ]


def _range(line: "ScorecardRow") -> str:
    found = line.interval
    return (
        f"{_format_number(found.low, line.value_format)} to {_format_number(found.high, line.value_format)}"
        if _is_finite(found)
        else MISSING_VALUE
    )


def _format_number(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else MISSING_VALUE


def _is_finite(found: "ConfidenceInterval") -> bool:
    return math.isfinite(found.low) and math.isfinite(found.high)


def check_report_dir(folder: Path) -> None:
    """Raise `SaveFailed` where no report can be written there. Nothing is made yet."""
    from turnwise.core.errors import SaveFailed

    try:
        at = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    except OSError as error:
        raise SaveFailed(f"No report can be written into {folder}: {error.strerror or error}.") from error
    if not at.is_dir():
        raise SaveFailed(f"No report can be written into {folder}: {at} is a file.")
    if not os.access(at, os.W_OK | os.X_OK):
        raise SaveFailed(f"No report can be written into {folder}: {at} may not be written to.")


@contextmanager
def open_response_cache(wanted: bool) -> Iterator[Any]:
    """Answers of earlier evaluations, in the person's own folder; only this one's where that is not wanted."""
    from turnwise.core.settings import Settings
    from turnwise.evaluation.response_cache import ResponseCache

    cache = ResponseCache(Settings.from_environment().home / "evaluations.db" if wanted else None)
    try:
        yield cache
    finally:
        cache.close()


@contextmanager
def progress_bar(console: Any, said: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left that is there from the first thing done to the last, as others may follow it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns: Sequence[Any] = (
        TextColumn(said, markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    progress = Progress(*columns, console=console, transient=True)
    task = progress.add_task(said)

    lines = ProgressLog(console)

    def on_done(done: int, total: int) -> None:
        lines.update(done, total, f"{said} {done:,}/{total:,}")
        progress.update(task, completed=done, total=total)
        (progress.start if done < total else progress.stop)()

    try:
        yield on_done
    finally:
        progress.stop()


@contextmanager
def evaluation_progress(console: Any) -> "Iterator[OnEvaluationProgress]":
    """Bars with the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns: Sequence[Any] = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[tuple[str, str], Any] = {}
        lines: dict[tuple[str, str], ProgressLog] = {}

        def watch(name: str, what: str, done: int, total: int) -> None:
            if not total:
                return
            if (name, what) not in tasks:
                tasks[name, what] = progress.add_task(f"{name}: {what}", total=total)
                lines[name, what] = ProgressLog(console)
            lines[name, what].update(done, total, f"{name}: {what} {done:,}/{total:,}")
            progress.update(tasks[name, what], completed=done, total=total)

        yield watch
