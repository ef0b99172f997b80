"""What `turnwise monitor` prints: alerts, figures, trends and deliveries.

Texts, topics, errors of servers and URLs come from others: they are printed without characters that a terminal obeys.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import typer

from turnwise.app.monitor.alert_events import iso_time
from turnwise.app.monitor.default_sentiment import sentiment_classifier
from turnwise.app.monitor.http_client import short_url
from turnwise.app.monitor.pipeline import ProcessedBatch
from turnwise.app.monitor.simulation.simulated_stream import SimulatedSurge
from turnwise.cli.console_output import json_line, one_line
from turnwise.core.monitor_records import SurgeAlert, TopicCount
from turnwise.core.monitor_store import MonitorStore
from turnwise.core.plurals import pluralize
from turnwise.core.webhook_deliveries import Delivery
from turnwise.monitor.copy_groups import group_copies

BAR_WIDTH = 40
LATE_NOTE = (
    "Note: most texts are late. Is the recording sorted with the newest text first, or is one text dated far ahead?"
)
MAX_SUMMARY_CHARS = 1000
FIGURES = {
    "texts": "texts",
    "duplicates": "repeated ids, not counted",
    "copies": "near copies, collapsed",
    "late": "late, in no window",
    "future": "dated in the future, not counted",
    "malformed": "records without a text",
    "without_topic": "texts without a topic",
    "ignored_topics": "topics beyond the limit",
    "windows": "windows closed",
}


def print_sentiment(classifier: str | None) -> None:
    """Print what labels sentiment, if the configuration does not name a classifier."""
    _, note = sentiment_classifier(classifier)
    if note is not None:
        typer.echo(note, err=True)


def print_batch(processed: ProcessedBatch, store: MonitorStore, *, as_json: bool = False) -> None:
    """Print the alerts that a batch opened or closed."""
    for opened in processed.opened:
        typer.echo(alert_json(opened, store) if as_json else alert_line(opened, "opened"))
    for id in processed.closed:
        alert = store.alert(id)
        if alert is not None:
            typer.echo(alert_json(alert, store) if as_json else alert_line(alert, "closed"))


def print_figures(store: MonitorStore, *, err: bool) -> None:
    """Print the totals of a store."""
    figures = store.figures()
    alerts = store.alerts(1_000_000)
    for name, label in FIGURES.items():
        if figures.get(name) or name == "texts":
            typer.echo(f"{figures.get(name, 0):>12,}  {label}", err=err)
    if 2 * figures.get("late", 0) > figures.get("texts", 0):
        typer.echo(LATE_NOTE, err=True)
    typer.echo(f"{len(alerts):>12,}  alerts, {sum(alert.closed is None for alert in alerts):,} open", err=err)


def print_source_error(name: str, error: str) -> None:
    """Print why a source cannot be read at present. The reason can quote a server."""
    typer.echo(f"{one_line(name)}: {one_line(error)}; it is tried again later.", err=True)


def print_busy_store(error: str) -> None:
    """Print that a batch waits for the store."""
    typer.echo(f"{one_line(error)} The monitor waits for it.", err=True)


def print_notices(notices: Sequence[str]) -> None:
    """Print what the owner should know about the stored state."""
    for notice in notices:
        typer.echo(f"Note: {notice}", err=True)


def alert_line(alert: SurgeAlert, phase: str | None = None) -> str:
    """An alert in a line."""
    phase = phase or ("open" if alert.closed is None else "closed")
    time = alert.closed if phase == "closed" and alert.closed is not None else alert.opened
    if alert.kind == "negative_share":
        values = f"negative share {alert.observed:.0%}, expected {alert.expected:.0%}"
    else:
        values = f"volume {alert.observed:,.0f}, expected {alert.expected:,.1f}"
    topic, summary = one_line(alert.topic), one_line(alert.summary, MAX_SUMMARY_CHARS)
    return f"{_time(time)}  {phase:6}  {topic}  {values}  {summary}"


def alert_json(alert: SurgeAlert, store: MonitorStore) -> str:
    """An alert with its texts, near copies together, as a JSON line."""
    values = {
        **asdict(alert),
        "start": iso_time(alert.start),
        "opened": iso_time(alert.opened),
        "closed": None if alert.closed is None else iso_time(alert.closed),
        "texts": [
            {"id": group.text.text.id, "time": iso_time(group.text.text.time), "text": group.text.text.text,
             "sentiment": group.text.sentiment, "copies": group.size - 1}
            for group in group_copies(store.alert_texts(alert.id))
        ],
    }  # fmt: skip
    return json_line(values)


def print_trend(store: MonitorStore, topic: str, *, seconds: int, hours: float, as_json: bool) -> None:
    """Print counts by time, added up over `seconds`, for `hours` before the newest; times without texts included."""
    last = max(count.start for count in store.counts(topic, 0)) // seconds * seconds
    first = min(last, last - int(hours * 3600) // seconds * seconds + seconds)
    sums = {count.start: count for count in store.count_sums(topic, first, last + seconds, seconds)}
    expectations = {entry.start: entry for entry in store.expected_sums(topic, first, last + seconds, seconds)}
    largest = max(1, *(count.count for count in sums.values()))
    if not as_json:
        typer.echo(f"{'TIME (UTC)':16}  {'TEXTS':>7}  {'SINGLE':>7}  {'EXPECTED':>8}  {'ALERT AT':>8}  {'NEGATIVE':>8}")
    for start in range(first, last + seconds, seconds):
        count = sums.get(start) or TopicCount(topic, start, 0, 0, 0)
        expected = expectations.get(start)
        if expected is not None and expected.seconds < seconds and start < last:  # nothing is known about a part of it
            expected = None
        if as_json:
            values = {
                "start": iso_time(start), "texts": count.texts, "count": count.count, "negative": count.negative,
                "expected": None if expected is None else round(expected.count, 2),
                "expected_negative": None if expected is None else round(expected.negative, 2),
                "threshold": None if expected is None else expected.threshold,
            }  # fmt: skip
            typer.echo(json.dumps(values))
            continue
        share = f"{count.negative / count.count:.0%}" if count.count else ""
        expected_text = f"{expected.count:,.1f}" if expected else ""
        threshold = f"{expected.threshold:,}" if expected and expected.threshold is not None else ""
        bar = "█" * round(BAR_WIDTH * count.count / largest)
        counts = f"{count.texts:>7,}  {count.count:>7,}  {expected_text:>8}  {threshold:>8}"
        typer.echo(f"{_time(start)[:16]}  {counts}  {share:>8}  {bar}".rstrip())


def surge_line(surge: SimulatedSurge) -> str:
    """A surge of a simulated stream in a line."""
    kind = "negative share" if surge.kind == "negative_share" else "volume"
    return f"{_time(surge.start)} to {_time(surge.end)[11:]}  {surge.topic}  {kind} x {surge.factor:.1f}"


def delivery_line(delivery: Delivery) -> str:
    """A delivery in a line. The URL is shortened: its path often is a secret."""
    event, attempts = delivery.event, pluralize(delivery.attempts, "attempt")
    url, error = one_line(short_url(event.url)), one_line(delivery.error)
    return f"{_time(event.created)}  {one_line(event.id)}  {url}  {attempts}, last: {error}"


def delivery_json(delivery: Delivery) -> str:
    """A delivery as a JSON line."""
    values = {
        "event": delivery.event.id, "url": short_url(delivery.event.url), "created": iso_time(delivery.event.created),
        "attempts": delivery.attempts, "error": delivery.error, "body": json.loads(delivery.event.body),
    }  # fmt: skip
    return json_line(values)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
