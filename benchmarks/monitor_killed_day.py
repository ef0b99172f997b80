"""A simulated day through `turnwise monitor`, killed with SIGKILL at random moments and continued.

    python benchmarks/monitor_killed_day.py --kills 10                     100,000 posts, 20 surges, `monitor replay`
    python benchmarks/monitor_killed_day.py --posts 4000 --topics 3 --surges 3 --history-days 9 --live

The store begins with detectors that have learned the history of the stream. The posts of the last day are then read
from a file by the command, in a process of its own that is killed and started again. All tables, states and alerts must
be those of a run that was not disturbed, and every post must be stored and counted once. `--live` follows the file with
`monitor run --once`, in smaller batches, instead of `monitor replay`.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from turnwise.app.monitor import open_monitor, runner  # noqa: F401  # loaded before the processes are forked
from turnwise.app.monitor.detection import load_detection
from turnwise.app.monitor.simulation.recording import POSTS, TOPICS, write_recording
from turnwise.app.monitor.simulation.simulated_stream import LAST_DAY, SimulatedStream, StreamSettings
from turnwise.cli.main import app
from turnwise.core.monitor_batch import MonitorBatch
from turnwise.monitor.detector_settings import SECONDS_PER_DAY
from turnwise.store import open_monitor_store

POLL_SECONDS = 0.002  # between two looks at the progress of a run
MAX_DELAY_SECONDS = 0.05  # from a commit to a kill, so that it comes at any moment of a batch
MAX_START_SECONDS = 1.5  # every third kill comes so early: while the program starts and loads the state
LIVE_DAY = 20_004  # 2024-10-08, a Tuesday: a live run leaves out texts that are dated in the future


def learn_history(stream: SimulatedStream, database: Path) -> None:
    """Write a store whose detectors have learned all windows before the last day."""
    detection = load_detection({"window_seconds": stream.settings.window_seconds})
    detectors = {topic: detection.open_detector(None) for topic in stream.topics}
    # The first text opens the last window of the day before, because texts may be late.
    end = SECONDS_PER_DAY * stream.settings.last_day - stream.settings.window_seconds
    for window in stream.history():
        if window.start < end:
            detectors[window.topic].update(window)
    store = open_monitor_store(f"sqlite:///{database}")
    states = {f"detector:{topic}": detector.state() for topic, detector in detectors.items()}
    store.commit(MonitorBatch(states=states))
    store.close()


def start_monitor(folder: Path, database: Path, is_live: bool) -> int:
    """Fork a process that runs the command on the posts of a folder. Returns its id."""
    files = ["--topics", str(folder / TOPICS), "--db", str(database)]
    posts = folder / POSTS
    live, recorded = ["run", "--source", f"file:{posts}", "--once"], ["replay", str(posts)]
    child = os.fork()
    if child:
        return child
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    code = 1
    try:
        app(["monitor", *(live if is_live else recorded), *files], standalone_mode=False)
        code = 0
    finally:
        os._exit(code)


def stored_texts(database: Path) -> int:
    """Number of texts that are stored."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
        row = connection.execute("SELECT value FROM monitor_figures WHERE name = 'texts'").fetchone()
    return int(row[0]) if row else 0


def kill_at(child: int, database: Path, num_texts: int, delay: float) -> bool:
    """Kill a process `delay` seconds after it has stored so many texts. Returns False if it ended before."""
    while stored_texts(database) < num_texts:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(POLL_SECONDS)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def run_to_end(folder: Path, database: Path, is_live: bool) -> float:
    """Run the command until it ends. Returns the seconds. Raises `RuntimeError` if it fails."""
    begin = time.monotonic()
    _, status = os.waitpid(start_monitor(folder, database, is_live), 0)
    if status:
        raise RuntimeError(f"the monitor ended with status {status}")
    return time.monotonic() - begin


def run_with_kills(folder: Path, database: Path, is_live: bool, kills: int, num_posts: int, seed: int) -> int:
    """Run the command with kills, and to its end. Returns the number of processes that were killed."""
    rng = random.Random(seed)
    targets = sorted(rng.randrange(num_posts * 9 // 10) for _ in range(kills))
    num_killed = 0
    for number, target in enumerate(targets):
        is_early = number % 3 == 2
        delay = rng.uniform(0, MAX_START_SECONDS if is_early else MAX_DELAY_SECONDS)
        child = start_monitor(folder, database, is_live)
        num_killed += kill_at(child, database, 0 if is_early else target, delay)
    run_to_end(folder, database, is_live)
    return num_killed


def read_tables(database: Path) -> dict[str, list[Any]]:
    """All rows of the monitor's tables; states as objects."""
    with closing(sqlite3.connect(database)) as connection:
        names = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'monitor%' ORDER BY name"
            )
        ]
        tables = {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names}
    tables["monitor_states"] = [
        (name, json.loads(zlib.decompress(value))) for name, value in tables["monitor_states"]
    ]  # fmt: skip
    return tables


def differences(killed: dict[str, list[Any]], undisturbed: dict[str, list[Any]], num_posts: int) -> list[str]:
    """What a run with kills stored differently, and posts that are missing or counted twice."""
    errors = [f"{name} differs" for name in undisturbed if killed[name] != undisturbed[name]]
    texts, figures = killed["monitor_texts"], dict(killed["monitor_figures"])
    if len({text[1] for text in texts}) != num_posts or len(texts) != num_posts:
        errors.append(f"{len(texts)} of {num_posts} posts are stored")
    counted = sum(row[2] for row in killed["monitor_counts"])
    with_topic = sum(len(json.loads(text[5])) for text in texts if not text[9])
    if counted != with_topic or figures.get("duplicates"):
        errors.append(f"{counted} texts of topics are counted, {with_topic} are stored")
    return errors


def measure(settings: StreamSettings, kills: int, seed: int, is_live: bool) -> None:
    """Run the day twice and print the figures; exit status 1 if the results differ."""
    stream = SimulatedStream(settings)
    with TemporaryDirectory(prefix="killed-day-") as name:
        folder = Path(name)
        num_posts = write_recording(stream, folder, days=1)
        killed, undisturbed = folder / "killed.db", folder / "undisturbed.db"
        learn_history(stream, undisturbed)
        shutil.copy(undisturbed, killed)
        seconds = run_to_end(folder, undisturbed, is_live)
        begin = time.monotonic()
        num_killed = run_with_kills(folder, killed, is_live, kills, num_posts, seed)
        killed_seconds = time.monotonic() - begin
        tables = read_tables(killed)
        errors = differences(tables, read_tables(undisturbed), num_posts)
        size = sum(path.stat().st_size for path in folder.glob("undisturbed.db*")) / 1e6
    alerts = tables["monitor_alerts"]
    print(f"{num_posts} posts, {len(alerts)} alerts, {num_killed} kills")
    print(f"{seconds:.1f} s undisturbed, {killed_seconds:.1f} s with kills, store of {size:.0f} MB")
    if errors:
        sys.exit("; ".join(errors))
    print("all tables are equal")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=100_000, help="mean number of posts of the day")
    parser.add_argument("--topics", type=int, default=25)
    parser.add_argument("--surges", type=int, default=20)
    parser.add_argument("--history-days", type=int, default=35)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the stream and of the moments of the kills")
    parser.add_argument("--live", action="store_true", help="`monitor run --once` instead of `monitor replay`")
    values = parser.parse_args(arguments)
    settings = StreamSettings(
        seed=values.seed, posts_per_day=values.posts, topics=values.topics, surges=values.surges,
        history_days=values.history_days, last_day=LIVE_DAY if values.live else LAST_DAY,
    )  # fmt: skip
    measure(settings, values.kills, values.seed, values.live)


if __name__ == "__main__":
    main()
