"""`turnwise monitor`: follow streams of texts and raise alerts of surges."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.monitor_simulate import simulate

# Nothing else is imported at module level, so that `--help` is fast.

if TYPE_CHECKING:
    from turnwise.app.monitor.monitor_config import MonitorConfig
    from turnwise.core.monitor_store import MonitorStore

app = typer.Typer(
    help="Follow streams of texts: label sentiment and topics, count them, and raise alerts of surges.",
    no_args_is_help=True,
)
app.command()(simulate)

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file. Flags replace its keys.")]
Topics = Annotated[Path | None, typer.Option(help="Topic file: YAML with names, words and tickers.")]
Classifier = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Classifier of sentiment: a name, a folder or `none`. Default: `financial-sentiment`, if its base model "
        "`minilm` is pulled.",
    ),
]
Summaries = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Chat model that describes alerts. Default: frequent words.")
]
Db = Annotated[
    str | None, typer.Option(metavar="FILE", help="Store of the monitor. Default: monitor.db in TURNWISE_HOME.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]


@app.command()
def run(
    config_file: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG.yaml]", help="Configuration file. Flags replace its keys.")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:ADDRESS",
            help="file:PATH, folder:PATH, feed:URL, push:http://HOST:PORT, or - for standard input. Repeatable.",
        ),
    ] = None,
    topics: Topics = None,
    classifier: Classifier = None,
    webhook: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Send alerts here, signed with TURNWISE_WEBHOOK_SECRET. Repeatable."),
    ] = None,
    summaries: Summaries = None,
    db: Db = None,
    once: Annotated[bool, typer.Option("--once", help="Read what there is, and end.")] = False,
) -> None:
    """Follow sources of texts until Ctrl-C. A restart continues where the last run ended.

    **Examples**

    ```
    turnwise monitor run monitor.yaml
    turnwise monitor run --source file:posts.jsonl --topics topics.yaml --classifier runs/sentiment
    turnwise monitor run --source feed:https://example.com/news.xml --topics topics.yaml
    tail -f posts.jsonl | turnwise monitor run --source - --topics topics.yaml
    ```
    """
    from turnwise.app.monitor.monitor_config import load_config, parse_source
    from turnwise.app.monitor.open_monitor import open_monitor, open_sources
    from turnwise.app.monitor.outbox_sender import OutboxSender
    from turnwise.app.monitor.runner import RunOptions, run_sources
    from turnwise.cli.console_output import one_line
    from turnwise.cli.monitor_output import (
        print_batch,
        print_busy_store,
        print_figures,
        print_notices,
        print_sentiment,
        print_source_error,
    )
    from turnwise.core.errors import InvalidParameter
    from turnwise.training.stop_signals import capture_stop_signals

    flags = _flags(topics=topics, classifier=classifier, summaries=summaries, db=db)
    if source:
        flags["sources"] = [parse_source(value) for value in source]
    if webhook:
        flags["webhooks"] = [{"url": url} for url in webhook]
    config = load_config(config_file, flags)
    if not config.sources:
        raise InvalidParameter("source", "Name a source: --source file:posts.jsonl, or `sources` in the configuration.")
    print_sentiment(config.classifier)
    with open_monitor(config) as monitor, open_sources(config.sources) as sources, capture_stop_signals() as signum:
        sender = OutboxSender(monitor.store, monitor.webhooks)
        if monitor.webhooks:
            sender.start()
        names = ", ".join(one_line(source.name) for source in sources)
        typer.echo(f"Following {names}. Ctrl-C ends after the batch.", err=True)
        print_notices(monitor.pipeline.notices)
        try:
            run_sources(
                monitor.pipeline,
                sources,
                RunOptions(once=once),
                is_stopped=lambda: bool(signum()),
                on_batch=lambda processed, _: print_batch(processed, monitor.store),
                on_source_error=print_source_error,
                on_busy_store=print_busy_store,
            )
        finally:
            sender.stop()
        if monitor.webhooks and once:
            sender.send_pending(lambda: bool(signum()))
        print_figures(monitor.store, err=True)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded texts: JSON lines with `text` and `time`.")],
    config_file: Config = None,
    topics: Topics = None,
    classifier: Classifier = None,
    summaries: Summaries = None,
    db: Annotated[
        str | None, typer.Option(metavar="FILE", help="Store the result here. Default: in memory, for this run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Process a recording as fast as possible, as if it was live, and print alerts and figures.

    Windows follow the times of the texts, so that the alerts are those of a live run. No alert is sent to a webhook.

    **Examples**

    ```
    turnwise monitor replay posts.jsonl --topics topics.yaml
    turnwise monitor replay posts.jsonl --config monitor.yaml --db replay.db
    turnwise monitor trends Acme --db replay.db
    ```
    """
    from turnwise.app.monitor.monitor_config import IN_MEMORY, load_config
    from turnwise.app.monitor.open_monitor import open_monitor
    from turnwise.app.monitor.runner import RunOptions, run_sources
    from turnwise.app.monitor.sources.file_source import FileSource
    from turnwise.app.monitor.sources.text_records import TextRecords
    from turnwise.cli.console_output import make_progress
    from turnwise.cli.monitor_output import print_batch, print_figures, print_notices, print_sentiment
    from turnwise.training.stop_signals import capture_stop_signals

    flags = _flags(topics=topics, classifier=classifier, summaries=summaries, db=db or IN_MEMORY)
    config = load_config(config_file, flags)
    name = f"file:{file}"
    print_sentiment(config.classifier)
    source = FileSource(file, TextRecords(name, _fields_of(config)), name, is_complete=True)
    with (
        open_monitor(config, is_recording=True) as monitor,
        capture_stop_signals() as signum,
        make_progress() as progress,
    ):
        print_notices(monitor.pipeline.notices)
        task = progress.add_task(file.name, total=file.stat().st_size)

        def on_batch(processed: Any, batch: Any) -> None:
            if batch is not None:
                progress.update(task, completed=batch.position["offset"])
            print_batch(processed, monitor.store, as_json=as_json)

        options = RunOptions(is_recording=True, batch_size=1024)
        run_sources(monitor.pipeline, [source], options, is_stopped=lambda: bool(signum()), on_batch=on_batch)
        print_figures(monitor.store, err=as_json)


@app.command()
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


@app.command()
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


@app.command("dead-letters")
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


@app.command()
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


@app.command()
def secret() -> None:
    """Print a new secret that signs webhooks.

    **Example**

    ```
    export TURNWISE_WEBHOOK_SECRET=$(turnwise monitor secret)
    ```
    """
    from turnwise.app.monitor.webhooks import create_secret

    typer.echo(create_secret())


def _flags(**values: Any) -> dict[str, Any]:
    """The flags that are set, as keys of the configuration."""
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in values.items() if value is not None
    }


def _fields_of(config: "MonitorConfig") -> dict[str, str]:
    """Names of keys in the records: those of the configuration's only source."""
    return dict(config.sources[0].fields) if len(config.sources) == 1 else {}


def _store(db: str | None) -> "Any":
    """The store of a monitor, closed at the end of a `with` block. Raises `NotFound` if there is none."""
    from contextlib import closing

    from turnwise.app.monitor.monitor_config import store_url
    from turnwise.core.errors import NotFound
    from turnwise.store import open_monitor_store

    url = store_url(db)
    path = Path(url.removeprefix("sqlite:///")).expanduser()
    if url.startswith("sqlite:///") and not path.is_file():
        raise NotFound(f"There is no store {path} yet: `turnwise monitor run` creates it, or name one with --db.")
    store: MonitorStore = open_monitor_store(url)
    return closing(store)
