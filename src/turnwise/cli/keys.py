"""`turnwise keys`: the API keys of the server."""

from typing import Annotated, Literal

import typer

# Nothing else is imported at module level, so that `--help` is fast.

app = typer.Typer(
    help="Create, list and revoke API keys of the server. Running servers apply a change within a second.",
    no_args_is_help=True,
)


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Unique name of the key, for lists and logs.")],
    role: Annotated[
        Literal["user", "agent", "admin"],
        typer.Option(
            help="user: the models, and conversations of this key. agent: also answers hand-offs to people. "
            "admin: everything but the documents that other keys uploaded."
        ),
    ] = "user",
    requests_per_minute: Annotated[
        int | None, typer.Option(help="Maximum requests per minute. Default: no limit.", min=1)
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(help="Maximum completions at the same time. Default: no limit.", min=1)
    ] = None,
    collect: Annotated[
        Literal["off", "metadata", "full"],
        typer.Option(
            help="What may be collected to improve the model. off: nothing, and no feedback is taken. metadata: "
            "ratings and counts. full: also conversations, corrections and comments, which reviewers read. A request "
            "can be stricter."
        ),
    ] = "metadata",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the key.")] = False,
) -> None:
    """Create a key and print it. It is shown only once: the server stores only its hash.

    **Examples**

    ```
    turnwise keys create --name laptop
    turnwise keys create --name shop --requests-per-minute 60 --max-concurrent 4
    turnwise keys create --name support --role agent
    turnwise keys create --name testers --collect full
    export OPENAI_API_KEY=$(turnwise keys create --name me --quiet)
    ```
    """
    from turnwise.core.settings import Settings
    from turnwise.store import open_key_store

    store = open_key_store(Settings.from_environment().keys_url)
    is_first = not store.list()
    key = store.create(
        name, role=role, requests_per_minute=requests_per_minute, max_concurrent=max_concurrent, consent=collect
    )
    typer.echo(key)
    if not quiet:
        typer.echo(
            f"This is the key '{name}' of the role '{role}'. Store it now: it is not shown again. Clients send it as "
            "'Authorization: Bearer KEY'.\nServers with this TURNWISE_HOME now require a key. `turnwise keys revoke` "
            "revokes it.",
            err=True,
        )
        if is_first and role != "admin":
            typer.echo(
                "It is the first key: what was stored without keys is reachable for keys of '--role admin' only.",
                err=True,
            )


@app.command("list")
def list_keys() -> None:
    """List names, prefixes, roles, dates and limits of all keys. The keys themselves are not stored.

    **Example**

    ```
    turnwise keys list
    ```
    """
    from turnwise.cli.version_output import print_table
    from turnwise.core.settings import Settings
    from turnwise.store import open_key_store

    keys = open_key_store(Settings.from_environment().keys_url).list()
    if not keys:
        typer.echo("There are no keys yet. Create one: turnwise keys create --name NAME", err=True)
        return
    rows: list[tuple[str, ...]] = [
        ("NAME", "PREFIX", "ROLE", "CREATED", "LAST USED", "REQUESTS/MINUTE", "CONCURRENT", "COLLECT")
    ]
    for key in keys:
        limits = (
            "no limit" if limit is None else f"{limit:,}" for limit in (key.requests_per_minute, key.max_concurrent)
        )
        times = (_format_time(key.created), _format_time(key.last_used))
        rows.append((key.name, f"{key.prefix}…", key.role, *times, *limits, key.consent))
    print_table(rows)


@app.command()
def revoke(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Name of the key, or its prefix from `turnwise keys list`.")
    ],
) -> None:
    """Revoke a key. Servers reject it within a second.

    **Examples**

    ```
    turnwise keys revoke laptop
    turnwise keys revoke tw-1a2b3c4d
    ```
    """
    from turnwise.core.settings import Settings
    from turnwise.store import open_key_store

    revoked = open_key_store(Settings.from_environment().keys_url).revoke(key.removesuffix("…"))
    typer.echo(f"The key '{revoked.name}' ({revoked.prefix}…) is revoked.")


@app.command()
def usage(
    days: Annotated[int, typer.Option(help="Days in UTC, today included.", min=1, max=90)] = 30,
    daily: Annotated[bool, typer.Option("--daily", help="Print each day.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each day as JSON.")] = False,
) -> None:
    """Show how much each key uses the models: requests, tokens and errors. Servers store them every few seconds.

    **Examples**

    ```
    turnwise keys usage
    turnwise keys usage --days 7 --daily
    turnwise keys usage --json
    ```
    """
    import time
    from datetime import timedelta

    from turnwise.cli.key_usage_output import print_usage, usage_json
    from turnwise.core.key_usage import utc_day
    from turnwise.core.settings import Settings
    from turnwise.store import open_key_usage

    store = open_key_usage(Settings.from_environment().keys_url)
    counts = [] if store is None else store.since(utc_day(time.time()) - timedelta(days=days - 1))
    if as_json:
        typer.echo(usage_json(counts))
    elif counts:
        print_usage(counts, daily=daily)
    else:
        typer.echo(f"No key was used in the last {days} days.", err=True)


def _format_time(seconds: float | None) -> str:
    from datetime import datetime

    return "never" if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
