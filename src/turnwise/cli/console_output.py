"""What commands about data show on standard error: bars with the time left, on a terminal only, and bad rows."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from turnwise.chat.service import EngineChatService

_T = TypeVar("_T")


def make_progress(shown: bool = True) -> Any:
    """A `rich.progress.Progress` that vanishes when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal))


def with_progress(items: Iterable[_T], what: str, total: int) -> Iterator[_T]:
    """The items, while a bar counts them."""
    with make_progress() as shown:
        task = shown.add_task(what, total=total)
        for item in items:
            yield item
            shown.advance(task)


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]


def check_output_path(out: Path, *, overwrite: bool) -> None:
    """Raise where a file would be replaced that nobody said may be."""
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.files import path_exists

    if path_exists(out) and out.is_dir():
        raise InvalidParameter("out", f"{out} is a folder. Choose a file name for --out.")
    if path_exists(out) and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")


def warn_missing_chat_template(service: "EngineChatService") -> None:
    """Say so where a model has no chat template: it was not tuned to chat, or the file is missing."""
    if service.renderer.tokenizer.chat_template is None:
        typer.echo(
            f"Note: {service.name} has no chat template (chat_template.jinja), so turns are only joined by its "
            "end-of-text token. Answers are poor unless it was trained that way.",
            err=True,
        )


def report_skipped_rows(count: int) -> None:
    """Say that bad rows were left out, if any were."""
    if count:
        typer.echo(f"{count:,} bad rows were left out; `turnwise data check` lists them.", err=True)
