"""`turnwise monitor simulate`: a simulated stream with known surges, to try the monitor without data."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

# Nothing else is imported at module level, so that `--help` is fast.


def simulate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder for posts.jsonl and topics.yaml.")],
    days: Annotated[
        int, typer.Option(min=1, max=60, help="Days of posts. The detector learns 7 days before its first alert.")
    ] = 9,
    posts_per_day: Annotated[
        int, typer.Option(min=1, max=200_000, help="Mean number of posts on a working day, near copies included.")
    ] = 4000,
    topics: Annotated[int, typer.Option(min=1, max=25, help="Number of topics.")] = 5,
    surges: Annotated[int, typer.Option(min=0, help="Surges on the last day, at most one per topic.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Everything is drawn from it.")] = 0,
    last_day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day, in UTC. Default: 2026-06-10.")
    ] = None,
) -> None:
    """Write invented posts about invented companies, and print the surges that they contain.

    **Examples**

    ```
    turnwise monitor simulate demo
    turnwise monitor replay demo/posts.jsonl --topics demo/topics.yaml --db demo/monitor.db
    turnwise serve --monitor demo/monitor.db
    ```
    """
    from turnwise.app.monitor.simulation.recording import POSTS, write_recording
    from turnwise.app.monitor.simulation.simulated_stream import LAST_DAY, SimulatedStream, StreamSettings
    from turnwise.cli.monitor_output import surge_line
    from turnwise.core.errors import InvalidParameter

    if folder.exists():
        raise InvalidParameter("folder", f"{folder} exists. Name a new folder.")
    day = LAST_DAY if last_day is None else (last_day - datetime(1970, 1, 1)).days
    settings = StreamSettings(
        seed=seed, posts_per_day=posts_per_day, topics=topics, history_days=days - 1, surges=surges, last_day=day
    )
    stream = SimulatedStream(settings)
    number = write_recording(stream, folder, days)
    typer.echo(f"{number:,} posts are in {folder / POSTS}. Surges:", err=True)
    for surge in stream.surges:
        typer.echo(surge_line(surge))
