"""Output shared by commands: progress bars (only on a terminal), notes on standard error, checks of output paths."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from turnwise.core.plurals import pluralize

if TYPE_CHECKING:
    from turnwise.chat.service import EngineChatService

_T = TypeVar("_T")
MAX_LINE_CHARS = 200  # of a text of others


def one_line(text: str, max_chars: int = MAX_LINE_CHARS) -> str:
    """Text of others on one line, truncated, without control and formatting characters, which a terminal obeys."""
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def json_line(values: Any) -> str:
    """A JSON line without characters that a terminal obeys: they are escaped, and parse to the same value."""
    text = json.dumps(values, ensure_ascii=False)
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def make_progress(enabled: bool = True) -> Any:
    """A `rich.progress.Progress` on standard error that disappears at the end; hidden if it is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not (enabled and console.is_terminal))


def with_progress(items: Iterable[_T], label: str, total: int) -> Iterator[_T]:
    """Yield the items and show a progress bar."""
    with make_progress() as progress:
        task = progress.add_task(label, total=total)
        for item in items:
            yield item
            progress.advance(task)


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]


def check_output_path(out: Path, *, overwrite: bool) -> None:
    """Raise `InvalidParameter` if `out` is a folder, or exists and may not be replaced."""
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.files import path_exists

    if path_exists(out) and out.is_dir():
        raise InvalidParameter("out", f"{out} is a folder. Choose a file name for --out.")
    if path_exists(out) and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")


def warn_fallback_model(model: str | None) -> None:
    """Print a note if no model is named and the default model has not been pulled."""
    from turnwise.app.default_model import fallback_note

    note = fallback_note() if model is None else None
    if note is not None:
        typer.echo(note, err=True)


def warn_missing_chat_template(service: "EngineChatService") -> None:
    """Print a note if the model has no chat template: it was not trained to chat, or the file is missing."""
    if service.renderer.tokenizer.chat_template is None and service.format is None:
        typer.echo(
            f"Note: {service.name} has no chat template (chat_template.jinja), so messages are joined by its "
            "end-of-text token. Answers are poor unless it was trained that way.",
            err=True,
        )


def report_skipped_rows(count: int) -> None:
    """Print the number of skipped bad rows, if there are any."""
    if count:
        verb = "was" if count == 1 else "were"
        typer.echo(f"{pluralize(count, 'bad row')} {verb} skipped; `turnwise data check` lists them.", err=True)
