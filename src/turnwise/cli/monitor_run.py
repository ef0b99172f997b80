"""`turnwise monitor run` and `replay`: process texts as they arrive, or a recording of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.monitor_flags import AsJson, Db
from turnwise.cli.shared_flags import QuantizeClassifier

# Nothing else is imported at module level, so that `--help` is fast.

if TYPE_CHECKING:
    from turnwise.app.monitor.monitor_config import MonitorConfig

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
    classifier_quantize: QuantizeClassifier = None,
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

    flags = _flags(
        topics=topics, classifier=classifier, classifier_quantize=classifier_quantize, summaries=summaries, db=db
    )
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


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded texts: JSON lines with `text` and `time`.")],
    config_file: Config = None,
    topics: Topics = None,
    classifier: Classifier = None,
    classifier_quantize: QuantizeClassifier = None,
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

    flags = _flags(
        topics=topics, classifier=classifier, classifier_quantize=classifier_quantize, summaries=summaries,
        db=db or IN_MEMORY,
    )  # fmt: skip
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


def _flags(**values: Any) -> dict[str, Any]:
    """The flags that are set, as keys of the configuration."""
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in values.items() if value is not None
    }


def _fields_of(config: "MonitorConfig") -> dict[str, str]:
    """Names of keys in the records: those of the configuration's only source."""
    return dict(config.sources[0].fields) if len(config.sources) == 1 else {}
