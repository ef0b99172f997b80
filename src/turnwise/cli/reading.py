"""Flags that say how data files are to be read, where the files do not say so themselves."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from turnwise.data.options import ReadOptions

# Nothing else is imported up here: the help must answer at once.

Format = Annotated[
    str | None, typer.Option("--format", help="The data's format, where it is not recognised (alpaca, csv, openai …).")
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="The text's encoding, where it is not UTF-8 (windows-1252, gbk …).")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        help="What columns or keys mean: user=Frage,assistant=Antwort (also system, history, conversation_id, role, "
        "content, messages, chosen, rejected, text …).",
    ),
]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", help="Whose part a speaker has: --role Ada=assistant --role Bob=user."),
]
Me = Annotated[
    str | None,
    typer.Option("--me", help="The person in a chat export whose messages are the replies; all others are users."),
]


def read_options(
    format: str | None, encoding: str | None, columns: list[str] | None, roles: list[str] | None, me: str | None
) -> "ReadOptions":
    """The options of a command line. Raises `InvalidParameter`."""
    from turnwise.data.options import ReadOptions, parse_assignments

    return ReadOptions(
        format, encoding, parse_assignments(columns or (), "columns"), parse_assignments(roles or (), "role"), me
    )


def read_flags(
    format: str | None, encoding: str | None, columns: list[str] | None, roles: list[str] | None, me: str | None
) -> dict[str, Any]:
    """The same as keys of a recipe's data source; those that are not given are left out. Raises `InvalidParameter`."""
    if not any((format, encoding, columns, roles, me)):
        return {}
    options = read_options(format, encoding, columns, roles, me)
    keys = ("format", "encoding", "columns", "roles", "me")
    return {name: value for name in keys if (value := getattr(options, name))}
