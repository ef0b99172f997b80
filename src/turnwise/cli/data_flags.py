"""Flags that say how data files are read, where the files do not say so themselves."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.shared_flags import with_flags

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions

# Nothing else is imported up here: the help must answer at once.

PANEL = "Reading the data"

_Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Format of the data files. Default: recognised (alpaca, csv, openai …).",
        rich_help_panel=PANEL,
    ),
]
_Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="Text encoding (windows-1252, gbk …). Default: UTF-8, or what a byte order mark says.",
        rich_help_panel=PANEL,
    ),
]
_Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        help="What columns or keys mean: user=Frage,assistant=Antwort (also system, history, conversation_id, role, "
        "content, messages, chosen, rejected, text …).",
        rich_help_panel=PANEL,
    ),
]
_RoleMap = Annotated[
    list[str] | None,
    typer.Option(
        "--role",
        help="Role of a speaker: --role Ada=assistant --role Bob=user.",
        rich_help_panel=PANEL,
    ),
]
_AssistantName = Annotated[
    str | None,
    typer.Option(
        "--me",
        help="In a chat export, the person whose messages are the assistant's; all others are users.",
        rich_help_panel=PANEL,
    ),
]
_FLAGS = {"format": _Format, "encoding": _Encoding, "columns": _Columns, "role": _RoleMap, "me": _AssistantName}


def data_source_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags for all of its data files; it receives them as the keyword `reading`, `ReadOptions`."""
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _FLAGS.items()
    ]
    return with_flags(command, "data_options", flags, lambda used: read_options(**used))


def read_options(
    *,
    format: str | None = None,
    encoding: str | None = None,
    columns: list[str] | None = None,
    role: list[str] | None = None,
    me: str | None = None,
) -> "ReadOptions":
    """The options of a command line. Raises `InvalidParameter`."""
    from turnwise.data.read_options import ReadOptions, parse_assignments

    return ReadOptions(
        format, encoding, parse_assignments(columns or (), "columns"), parse_assignments(role or (), "role"), me
    )


def recipe_keys(options: "ReadOptions") -> dict[str, Any]:
    """The options as keys of a recipe's data source; those that were not given are left out."""
    values = {
        "format": options.format,
        "encoding": options.encoding,
        "columns": options.columns,
        "roles": options.roles,
        "assistant_name": options.me,
    }
    return {name: value for name, value in values.items() if value}
