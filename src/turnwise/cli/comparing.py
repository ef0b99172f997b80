"""What commands that measure models share: the cache of answers, bars, and a scorecard on the terminal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnwise.evaluation.opinion import Opinion
    from turnwise.evaluation.run import Watch
    from turnwise.evaluation.scorecard import Line, Scorecard

# Nothing else is imported up here: the help must answer at once.

ANSWER = 128  # tokens of an answer at most, unless said otherwise


def show(card: "Scorecard", console: Any) -> None:
    """Print a scorecard: the verdict, then the metrics."""
    from rich.table import Table

    if card.verdict is not None:
        colour = {"better": "green", "worse": "red", "mixed": "yellow"}.get(card.verdict, "")
        console.print(f"Verdict: {card.verdict}", style=f"bold {colour}".strip(), highlight=False)
        for reason in card.reasons:
            console.print(reason, markup=False, highlight=False)
    compared = card.verdict is not None
    table = Table("metric", "value", *(("before", "difference", "") if compared else ("95 %",)))
    for line in card.lines:
        table.add_row(line.label, f"{line.value:{line.shown}}", *(_compared(line) if compared else [_range(line)]))
    console.print(table)
    if card.judge is not None:
        _show_opinion(card.judge, console)


def _show_opinion(found: "Opinion", console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from turnwise.evaluation.report.opinions import opinions

    told = opinions(found)
    table = Table("judge", "value", "95 %")
    for name, value, span, _ in told.rows:
        table.add_row(name, value, Text(span))  # brackets are no markup
    console.print(told.title, markup=False, highlight=False)
    console.print(told.about, markup=False, highlight=False)
    console.print(table)


def _compared(line: "Line") -> list[str]:
    if line.base is None or line.difference is None or line.difference_interval is None:
        return ["", "", ""]
    found = line.difference_interval
    apart = f"{line.difference:+{line.shown}} ({found.low:+{line.shown}} to {found.high:+{line.shown}})"
    return [
        f"{line.base:{line.shown}}",
        apart,
        line.verdict if line.judged else f"({line.verdict})" * bool(line.verdict),
    ]


def _range(line: "Line") -> str:
    return f"{line.interval.low:{line.shown}} to {line.interval.high:{line.shown}}"


@contextmanager
def answers_kept(wanted: bool) -> Iterator[Any]:
    """Answers of earlier evaluations, in the person's own folder; only this one's where that is not wanted."""
    from turnwise.core.settings import Settings
    from turnwise.evaluation.cache import Cache

    cache = Cache(Settings.from_environment().home / "evaluations.db" if wanted else None)
    try:
        yield cache
    finally:
        cache.close()


@contextmanager
def watched(console: Any) -> "Iterator[Watch]":
    """Bars with the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns: Sequence[Any] = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[tuple[str, str], Any] = {}

        def watch(name: str, what: str, done: int, total: int) -> None:
            if not total:
                return
            if (name, what) not in tasks:
                tasks[name, what] = progress.add_task(f"{name}: {what}", total=total)
            progress.update(tasks[name, what], completed=done, total=total)

        yield watch
