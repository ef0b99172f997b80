"""`turnwise monitor alerts`, `trends`, `dead-letters` and `resend`: show and change what a monitor has stored."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnwise.cli.monitor_flags import AsJson, Db

# Nothing else is imported at module level, so that `--help` is fast.

if TYPE_CHECKING:
    from turnwise.core.monitor_store import MonitorStore


def alerts(
    db: Db = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of alerts, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List alerts, newest first.

    **Examples**

    ```
    turnwise monitor alerts
    turnwise monitor alerts --json --limit 1
    ```
    """
    from turnwise.cli.monitor_output import alert_json, alert_line

    with _store(db) as store:
        stored = store.alerts(limit)
        for alert in stored:
            typer.echo(alert_json(alert, store) if as_json else alert_line(alert))
        if not stored:
            typer.echo("There are no alerts.", err=True)


def trends(
    topic: Annotated[str | None, typer.Argument(metavar="[TOPIC]", help="Topic. Default: list the topics.")] = None,
    db: Db = None,
    hours: Annotated[float, typer.Option(min=0.1, help="Hours before the newest window.")] = 24.0,
    minutes: Annotated[int, typer.Option(min=1, help="Minutes that a row adds up.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Print the counts of a topic over time: texts, texts without copies, and the share of negative ones.

    EXPECTED is what the detector expected, ALERT AT the smallest count of a row that opens an alert on the volume; for
    rows of up to two hours, with windows of five minutes.

    **Examples**

    ```
    turnwise monitor trends
    turnwise monitor trends Acme --hours 6 --minutes 15
    ```
    """
    from turnwise.cli.console_output import one_line
    from turnwise.cli.monitor_output import print_trend
    from turnwise.core.errors import NotFound, did_you_mean

    with _store(db) as store:
        names = store.topics()
        if topic is None:
            typer.echo("\n".join(map(one_line, names)) if names else "There are no counts yet.", err=not names)
            return
        if topic not in names:
            hint = did_you_mean(topic, names) if names else "there are no counts yet."
            raise NotFound(f"There are no counts of '{one_line(topic, 100)}'; {one_line(hint)}")
        print_trend(store, topic, seconds=60 * minutes, hours=hours, as_json=as_json)


def dead_letters(db: Db = None, as_json: AsJson = False) -> None:
    """List alerts that could not be delivered for a day, and were given up.

    **Example**

    ```
    turnwise monitor dead-letters
    ```
    """
    from turnwise.cli.monitor_output import delivery_json, delivery_line

    with _store(db) as store:
        deliveries = store.deliveries("dead")
        for delivery in deliveries:
            typer.echo(delivery_json(delivery) if as_json else delivery_line(delivery))
        if not deliveries:
            typer.echo("There are no dead letters.", err=True)


def resend(
    event: Annotated[str | None, typer.Argument(metavar="[EVENT]", help="Id of one event. Default: all.")] = None,
    db: Db = None,
) -> None:
    """Send dead letters again: a running monitor, or the next one, tries for another day.

    **Examples**

    ```
    turnwise monitor resend
    turnwise monitor resend 3f9c0a1b2c4d5e6f_opened
    ```
    """
    import time

    from turnwise.core.errors import NotFound
    from turnwise.core.plurals import pluralize

    with _store(db) as store:
        number = store.resend(event, time.time())
    if event is not None and not number:
        raise NotFound(f"There is no dead letter '{event[:100]}'.")
    typer.echo(f"{pluralize(number, 'event')} will be sent again.")


def _store(db: str | None) -> "AbstractContextManager[MonitorStore]":
    """The store of a monitor, closed at the end of a `with` block. Raises `NotFound` if there is none."""
    from contextlib import closing

    from turnwise.app.monitor.monitor_config import store_url
    from turnwise.core.errors import NotFound
    from turnwise.store import open_monitor_store

    url = store_url(db)
    path = Path(url.removeprefix("sqlite:///")).expanduser()
    if url.startswith("sqlite:///") and not path.is_file():
        raise NotFound(f"There is no store {path} yet: `turnwise monitor run` creates it, or name one with --db.")
    return closing(open_monitor_store(url))
