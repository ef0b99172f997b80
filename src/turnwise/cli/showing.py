"""What commands about data show on standard error: bars with the time left, on a terminal only, and bad rows."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import typer

_T = TypeVar("_T")


def bar(shown: bool = True) -> Any:
    """A `rich.progress.Progress` that vanishes when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal))


def counted(items: Iterable[_T], what: str, total: int) -> Iterator[_T]:
    """The items, while a bar counts them."""
    with bar() as shown:
        task = shown.add_task(what, total=total)
        for item in items:
            yield item
            shown.advance(task)


def tell_bad(count: int) -> None:
    """Say that bad rows were left out, if any were."""
    if count:
        typer.echo(f"{count:,} bad rows were left out; `turnwise data check` lists them.", err=True)
