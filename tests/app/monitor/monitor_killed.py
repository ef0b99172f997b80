"""Crash test: a monitor is killed with SIGKILL at random SQL statements; nothing may be lost or counted twice.

    python tests/app/monitor/monitor_killed.py FOLDER KILLS SEED SOURCES

Each run forks a process that follows files and kills itself at a random statement: between two batches, in the middle
of a transaction, at its commit, or while it loads the state. After the kills a last process reads the rest. The tables
must equal those of a run that was not disturbed. With several sources a restart changes the order in which their texts
arrive; then the texts have no copies and are not late, and their numbers are left out of the comparison.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from monitor_stand_ins import DETECTION, START, TOPICS, WINDOW, WordClassifier, random_stream, tables
from turnwise.app.monitor.pipeline import MonitorPipeline
from turnwise.app.monitor.pipeline_settings import PipelineSettings
from turnwise.app.monitor.runner import RunOptions, run_sources
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.sources.file_source import FileSource
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.app.monitor.window_counter import WindowSettings
from turnwise.core.monitor_store import MonitorStore
from turnwise.store import open_monitor_store

NUM_TEXTS = 500
STATEMENTS_PER_RUN = 50  # mean number before a kill


def follow(recordings: list[Path], database: Path, kill_at: int | None = None) -> None:
    """Process the files to their end, or kill this process at statement `kill_at`."""
    store = open_monitor_store(f"sqlite:///{database}")
    store.claim()
    # What a killed process has written stays in the system's cache, so that syncing would only take time.
    store._database._connection.execute("PRAGMA synchronous = OFF")
    num_statements = 0

    def count_statement(_: str) -> None:
        nonlocal num_statements
        num_statements += 1
        if num_statements == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    store._database._connection.set_trace_callback(count_statement)
    settings = PipelineSettings(WindowSettings(WINDOW, 30.0), max_future_seconds=None, snapshot_texts=60)
    pipeline = MonitorPipeline(
        store, DETECTION, TOPICS, SentimentLabeller(WordClassifier()), settings, ["https://example.com"],
        clock=lambda: START,
    )  # fmt: skip
    sources = [FileSource(path, TextRecords(path.stem), path.stem, is_complete=True) for path in recordings]
    options = RunOptions(is_recording=True, batch_size=7)
    run_sources(pipeline, sources, options, is_stopped=lambda: False, on_batch=lambda *_: None)
    store.close()


def unordered_tables(store: MonitorStore) -> dict[str, list[object]]:
    """What is stored, without the numbers that depend on the order of the texts."""
    alerts = sorted(store.alerts(1000), key=lambda alert: alert.id)
    texts = sorted((entry.text.time, entry.text.id, entry.topics, entry.is_late) for entry in store.texts_from(0))
    return {
        "monitor_texts": [*texts],
        "monitor_alerts": [(alert.id, alert.opened, alert.closed, alert.observed) for alert in alerts],
        "monitor_counts": [*store.counts(None, 0)],
        "monitor_figures": [*store.figures().items()],
        "alert_texts": [sorted(entry.text.id for entry in store.alert_texts(alert.id)) for alert in alerts],
        "positions": [*sorted(store.positions().items())],
    }


def main() -> None:
    """Print the number of kills and of stored texts; exit status 1 if a table differs."""
    folder, (kills, seed, num_sources) = Path(sys.argv[1]), map(int, sys.argv[2:])
    recordings, rng = [folder / f"test{number}.jsonl" for number in range(num_sources)], random.Random(seed)
    records = random_stream(NUM_TEXTS, seed)
    if num_sources > 1:
        records = [record for record in records if "moon" not in record["text"]]
        records.sort(key=lambda record: record["time"])
    for number, recording in enumerate(recordings):
        recording.write_text("".join(f"{json.dumps(record)}\n" for record in records[number::num_sources]))
    num_killed = 0
    for _ in range(kills):
        kill_at = rng.randrange(1, 2 * STATEMENTS_PER_RUN)
        child = os.fork()
        if child == 0:
            follow(recordings, folder / "killed.db", kill_at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        num_killed += os.WIFSIGNALED(status)
    follow(recordings, folder / "killed.db")
    follow(recordings, folder / "undisturbed.db")
    results = []
    for name in ("killed.db", "undisturbed.db"):
        store = open_monitor_store(f"sqlite:///{folder / name}")
        results.append(tables(store) if num_sources == 1 else unordered_tables(store))
        store.close()
    different = [name for name in results[0] if results[0][name] != results[1][name]]
    print(num_killed, len(results[0]["monitor_texts"]), len(results[0]["monitor_alerts"]))
    if different:
        sys.exit(f"These tables differ: {', '.join(different)}")


if __name__ == "__main__":
    main()
