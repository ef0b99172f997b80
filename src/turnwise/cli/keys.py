"""`turnwise keys`: who may use a server."""

from typing import Annotated

import typer

# Nothing else is imported up here: the help must answer at once.

app = typer.Typer(
    help="Create, list and revoke API keys of the server. Running servers apply a change within a second.",
    no_args_is_help=True,
)


@app.command(
    epilog="Examples: turnwise keys create --name laptop   |   "
    "turnwise keys create --name shop --rate 60 --concurrent 4   |   "
    "export OPENAI_API_KEY=$(turnwise keys create --name me --quiet)"
)
def create(
    name: Annotated[str, typer.Option(help="Unique name of the key, for lists and logs.")],
    rate: Annotated[int | None, typer.Option(help="Maximum requests per minute. Default: no limit.", min=1)] = None,
    concurrent: Annotated[
        int | None, typer.Option(help="Maximum completions at the same time. Default: no limit.", min=1)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the key.")] = False,
) -> None:
    """Create a key and print it. It is shown only once: the server stores its hash."""
    from turnwise.core.settings import Settings
    from turnwise.store import open_key_store

    key = open_key_store(Settings.from_environment().keys_url).create(name, rate=rate, concurrent=concurrent)
    typer.echo(key)
    if not quiet:
        typer.echo(
            f"This is the key '{name}'. Keep it now, it is not shown again. Clients send it as 'Authorization: Bearer "
            "KEY'.\nServers that use this TURNWISE_HOME now ask for a key; `turnwise keys revoke` takes it back.",
            err=True,
        )


@app.command("list", epilog="Example: turnwise keys list")
def list_keys() -> None:
    """List names, prefixes, dates and limits of all keys. The keys themselves are not stored."""
    from turnwise.core.settings import Settings
    from turnwise.store import open_key_store

    keys = open_key_store(Settings.from_environment().keys_url).list()
    if not keys:
        typer.echo("There are no keys yet. Make one: turnwise keys create --name NAME", err=True)
        return
    rows: list[tuple[str, ...]] = [("NAME", "PREFIX", "CREATED", "LAST USED", "REQUESTS/MINUTE", "AT ONCE")]
    for key in keys:
        limits = (
            "no limit" if limit is None else f"{limit:,}" for limit in (key.requests_per_minute, key.max_concurrent)
        )
        rows.append((key.name, f"{key.prefix}…", _moment(key.created), _moment(key.last_used), *limits))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command(epilog="Examples: turnwise keys revoke laptop   |   turnwise keys revoke tw-1a2b3c4d")
def revoke(
    key: Annotated[str, typer.Argument(help="Name of the key, or its prefix from `turnwise keys list`.")],
) -> None:
    """Revoke a key: servers refuse it within a second."""
    from turnwise.core.settings import Settings
    from turnwise.store import open_key_store

    gone = open_key_store(Settings.from_environment().keys_url).revoke(key.removesuffix("…"))
    typer.echo(f"The key '{gone.name}' ({gone.prefix}…) is revoked.")


def _moment(seconds: float | None) -> str:
    from datetime import datetime

    return "never" if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
