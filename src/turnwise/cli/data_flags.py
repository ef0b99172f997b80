"""Flags of all commands that read data files."""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.shared_flags import with_flags

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions

# Nothing else is imported at module level, so that `--help` is fast.

PANEL = "Reading the data"

SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Skip bad rows instead of stopping at the first one.")
]

_Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Format of the data files (alpaca, csv, openai …). Default: detected.",
        rich_help_panel=PANEL,
    ),
]
_Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="Text encoding (windows-1252, gbk …). Default: the encoding of the byte order mark, or UTF-8.",
        rich_help_panel=PANEL,
    ),
]
_Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        help="Meaning of columns or keys: user=Frage,assistant=Antwort (also system, history, conversation_id, role, "
        "content, messages, chosen, rejected, text …).",
        rich_help_panel=PANEL,
    ),
]
_RoleMap = Annotated[
    list[str] | None,
    typer.Option(
        "--role",
        help="Role of a speaker, as NAME=ROLE: --role Ada=assistant --role Bob=user. Repeatable.",
        rich_help_panel=PANEL,
    ),
]
_AssistantName = Annotated[
    str | None,
    typer.Option(
        "--assistant-name",
        help="Speaker of a chat export whose messages become the assistant's; all other speakers become users.",
        rich_help_panel=PANEL,
    ),
]
_FLAGS = {
    "format": _Format,
    "encoding": _Encoding,
    "columns": _Columns,
    "role": _RoleMap,
    "assistant_name": _AssistantName,
}


def data_source_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: add the flags for reading data files. The command receives `ReadOptions` as `data_options`."""
    return _with_read_options(command, tuple(_FLAGS))


def annotation_source_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: add the flags for reading annotated texts; the others of `data_source_flags` are for dialogues."""
    return _with_read_options(command, ("encoding", "columns"))


def _with_read_options(command: Callable[..., None], names: Sequence[str]) -> Callable[..., None]:
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_FLAGS[name]) for name in names
    ]
    return with_flags(command, "data_options", flags, lambda used: read_options(**used))


def read_options(
    *,
    format: str | None = None,
    encoding: str | None = None,
    columns: list[str] | None = None,
    role: list[str] | None = None,
    assistant_name: str | None = None,
) -> "ReadOptions":
    """Build `ReadOptions` from the values of the flags. Raises `InvalidParameter`."""
    from turnwise.data.read_options import ReadOptions, parse_assignments

    return ReadOptions(
        format,
        encoding,
        parse_assignments(columns or (), "columns"),
        parse_assignments(role or (), "role"),
        assistant_name,
    )


def recipe_keys(options: "ReadOptions") -> dict[str, Any]:
    """The options as keys of a recipe's data source, without unset ones."""
    values = {
        "format": options.format,
        "encoding": options.encoding,
        "columns": options.columns,
        "roles": options.roles,
        "assistant_name": options.assistant_name,
    }
    return {name: value for name, value in values.items() if value}
