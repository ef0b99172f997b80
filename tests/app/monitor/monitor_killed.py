"""Crash test: a monitor is killed with SIGKILL at random SQL statements; nothing may be lost or counted twice.

    python tests/app/monitor/monitor_killed.py FOLDER [KILLS] [SEED]

Each run forks a process that follows a file and kills itself at a random statement: between two batches, in the middle
of a transaction, at its commit, or while it loads the state. After the kills a last process reads the rest. The tables
must equal those of a run that was not disturbed.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from monitor_stand_ins import DETECTION, START, TOPICS, WINDOW, WordClassifier, random_stream, tables
from turnwise.app.monitor.pipeline import MonitorPipeline, PipelineSettings
from turnwise.app.monitor.runner import RunOptions, run_sources
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.sources.file_source import FileSource
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.app.monitor.window_counter import WindowSettings
from turnwise.store import open_monitor_store

NUM_TEXTS = 500
STATEMENTS_PER_RUN = 50  # mean number before a kill


def follow(recording: Path, database: Path, kill_at: int | None = None) -> None:
    """Process the file to its end, or kill this process at statement `kill_at`."""
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
    source = FileSource(recording, TextRecords("test"), "test", is_complete=True)
    options = RunOptions(is_recording=True, batch_size=7)
    run_sources(pipeline, [source], options, is_stopped=lambda: False, on_batch=lambda *_: None)
    store.close()


def main() -> None:
    """Print the number of kills and of stored texts; exit status 1 if a table differs."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    recording, rng = folder / "stream.jsonl", random.Random(seed)
    recording.write_text("".join(f"{json.dumps(record)}\n" for record in random_stream(NUM_TEXTS, seed)))
    num_killed = 0
    for _ in range(kills):
        kill_at = rng.randrange(1, 2 * STATEMENTS_PER_RUN)
        child = os.fork()
        if child == 0:
            follow(recording, folder / "killed.db", kill_at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        num_killed += os.WIFSIGNALED(status)
    follow(recording, folder / "killed.db")
    follow(recording, folder / "undisturbed.db")
    results = []
    for name in ("killed.db", "undisturbed.db"):
        store = open_monitor_store(f"sqlite:///{folder / name}")
        results.append(tables(store))
        store.close()
    different = [name for name in results[0] if results[0][name] != results[1][name]]
    print(num_killed, len(results[0]["monitor_texts"]), len(results[0]["monitor_alerts"]))
    if different:
        sys.exit(f"These tables differ: {', '.join(different)}")


if __name__ == "__main__":
    main()
