"""Measures the surge detector and the collapsing of near copies on simulated streams (docs/guide/monitor_detection.md).

    python benchmarks/monitor.py day              a day of 100,000 posts with 20 surges, after 35 days of history
    python benchmarks/monitor.py surges           100 surges at the level of counts, beside other detectors
    python benchmarks/monitor.py false-alarms     200 topic-months without surges, at several kinds of streams
    python benchmarks/monitor.py killed-day       the day through `turnwise monitor replay`, killed and continued
    python benchmarks/monitor.py picture          draws docs/pictures/monitor.png

An alarm is true if it comes between the start of a surge of its kind and topic, and half an hour after its end. Alarms
of other detectors within two hours of an earlier one of the same kind and topic are not counted again.

Shapes: T topics, W windows.
"""

import argparse
import random
import statistics
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from scipy import stats

import monitor_killed_day
from turnwise.app.monitor.simulation.simulated_stream import (
    SimulatedPost,
    SimulatedStream,
    SimulatedSurge,
    StreamSettings,
)
from turnwise.monitor.detector_settings import SECONDS_PER_DAY, DetectorSettings
from turnwise.monitor.near_copies import NearCopies
from turnwise.monitor.surge_detector import SurgeDetector, SurgeEvent, WindowCount

SECONDS = 300
GRACE_SECONDS = 1800
HOLD_WINDOWS = 24
PICTURE = Path(__file__).parents[1] / "docs/pictures/monitor.png"
SURGE_TABLE = (
    "| detector | found | median delay (windows) | 90 % | false alarms | per topic and 30 days |\n"
    "| --- | --- | --- | --- | --- | --- |"
)
MEMORY_POSTS = 5000  # posts to measure the memory of a text with
Alarm = tuple[str, str, int]  # topic, kind, end of the window
Series = Callable[[NDArray[np.float64]], Iterator[int]]  # values of windows to windows with an alarm


def is_hit(alarm: Alarm, surge: SimulatedSurge) -> bool:
    """Whether an alarm reports a surge."""
    topic, kind, at = alarm
    return (topic, kind) == (surge.topic, surge.kind) and surge.start < at <= surge.end + GRACE_SECONDS


def report(name: str, alarms: Sequence[Alarm], surges: list[SimulatedSurge], topic_days: float) -> None:
    """Print found surges, delays and false alarms as a row of a table."""
    delays = []
    for surge in surges:
        hits = [at for topic, kind, at in alarms if is_hit((topic, kind, at), surge)]
        if hits:
            delays.append((min(hits) - surge.start) / SECONDS)
    false = [alarm for alarm in alarms if not any(is_hit(alarm, surge) for surge in surges)]
    rate = len(false) / topic_days * 30
    delay = f"{statistics.median(delays):.0f} | {np.quantile(delays, 0.9):.0f}" if delays else "- | -"
    print(f"| {name} | {len(delays)}/{len(surges)} | {delay} | {len(false)} | {rate:.2f} |", flush=True)


def detector_alarms(windows: Iterator[WindowCount], detector: SurgeDetector) -> list[SurgeEvent]:
    """Events of openings over a stream of windows."""
    events = [event for window in windows for event in detector.update(window)]
    return [event for event in events if event.phase == "opened"]


def textbook_cusum(values_W: NDArray[np.float64], warmup: int, limit: float = 5.0) -> Iterator[int]:
    """CUSUM with k = 0.5 and h = `limit` of values standardized by the mean and deviation of the warm-up."""
    mean, deviation = values_W[:warmup].mean(), values_W[:warmup].std() or 1.0
    total = 0.0
    for window in range(warmup, len(values_W)):
        total = max(0.0, total + (values_W[window] - mean) / deviation - 0.5)
        if total > limit:
            yield window
            total = 0.0


def river_detector(name: str, values_W: NDArray[np.float64], warmup: int) -> Iterator[int]:
    """A detector of river with its defaults; its alarms of falling values are left out."""
    from river import drift

    detector = {"ADWIN": drift.ADWIN, "PageHinkley": drift.PageHinkley}[name]()
    for window, value in enumerate(values_W.tolist()):
        detector.update(value)
        if detector.drift_detected and window >= warmup and value > values_W[max(0, window - 288) : window].mean():
            yield window


def other_detectors(warmup: int) -> dict[str, Series]:
    """Detectors to compare with, by name."""
    rng = random.Random(0)
    chance = 1 / 8640  # two kinds: two alarms per topic and month
    return {
        "always fire": lambda values_W: iter(range(warmup, len(values_W))),
        "random": lambda values_W: (w for w in range(warmup, len(values_W)) if rng.random() < chance),
        "CUSUM k=0.5 h=5": lambda values_W: textbook_cusum(values_W, warmup),
        "CUSUM k=0.5 h=20": lambda values_W: textbook_cusum(values_W, warmup, 20.0),
        "river ADWIN": lambda values_W: river_detector("ADWIN", values_W, warmup),
        "river PageHinkley": lambda values_W: river_detector("PageHinkley", values_W, warmup),
    }


def series_alarms(stream: SimulatedStream, detect: Series) -> Iterator[Alarm]:
    """Alarms of another detector on the counts and on the negative shares of all topics of a stream."""
    for index, topic in enumerate(stream.topics):
        counts_W, negative_W = stream.counts_TW[index].astype(float), stream.negative_TW[index].astype(float)
        shares_W = np.where(counts_W > 0, negative_W / np.maximum(counts_W, 1), 0.25)
        for kind, values_W in (("volume", counts_W), ("negative_share", shares_W)):
            last = -HOLD_WINDOWS
            for window in detect(values_W):
                if window - last >= HOLD_WINDOWS:
                    last = window
                    yield topic, kind, int(stream.starts_W[window]) + SECONDS


def measure_surges(num_streams: int, with_others: bool) -> None:
    """Surges at the level of counts: 14 days of history and a day with 20 surges per stream."""
    settings = StreamSettings(history_days=14)
    warmup = 7 * 288
    streams = [SimulatedStream(replace(settings, seed=100 + seed)) for seed in range(num_streams)]
    surges = [(number, surge) for number, stream in enumerate(streams) for surge in stream.surges]
    topic_days = num_streams * settings.topics * (settings.history_days + 1 - 7)
    unique = [replace(surge, topic=f"{number} {surge.topic}") for number, surge in surges]
    print(SURGE_TABLE)
    alarms: list[Alarm] = []
    for number, stream in enumerate(streams):
        events = detector_alarms(stream.windows(), SurgeDetector(DetectorSettings()))
        alarms += [(f"{number} {event.topic}", event.kind, event.at) for event in events]
    report("turnwise", alarms, unique, topic_days)
    for kind in ("volume", "negative_share"):
        for low, high in ((2, 3), (3, 6)):
            subset = [surge for surge in unique if surge.kind == kind and low <= surge.factor < high]
            hits = [alarm for alarm in alarms if any(is_hit(alarm, surge) for surge in subset)]
            report(f"turnwise: {kind}, {low}x to {high}x", hits, subset, topic_days)
    for name, detect in other_detectors(warmup).items() if with_others else ():
        alarms = [
            (f"{number} {topic}", kind, at)
            for number, stream in enumerate(streams)
            for topic, kind, at in series_alarms(stream, detect)
        ]
        report(name, alarms, unique, topic_days)


def measure_false_alarms(num_streams: int, months: int) -> None:
    """Quiet streams: alarms per topic and 30 days, after 7 days of warm-up, with exact 95 % intervals."""
    print(
        "| stream | topic-months | alarms (volume, share) | per topic-month | 95 % | alarms in every month |\n"
        "| --- | --- | --- | --- | --- | --- |",
        flush=True,
    )
    for name, settings in {
        "Poisson with a season": StreamSettings(fluctuation=0.0, dispersion=0.0),
        "fluctuation 15 %": StreamSettings(),
        "fluctuation 30 %, dispersion 0.1": StreamSettings(fluctuation=0.3, dispersion=0.1),
        "15 %, 4,000 posts per day": StreamSettings(posts_per_day=4_000),
    }.items():
        kinds: Counter[str] = Counter()
        by_month = [0] * months
        for seed in range(num_streams):
            history_days = 6 + 30 * months
            stream = SimulatedStream(replace(settings, seed=1000 + seed, history_days=history_days, surges=0))
            begin = int(stream.starts_W[0]) + 7 * SECONDS_PER_DAY
            for event in detector_alarms(stream.windows(), SurgeDetector(DetectorSettings())):
                kinds[event.kind] += 1
                by_month[(event.at - 1 - begin) // (30 * SECONDS_PER_DAY)] += 1
        total, topic_months = kinds.total(), num_streams * settings.topics * months
        low = stats.chi2.ppf(0.025, 2 * total) / 2 / topic_months if total else 0.0
        high = stats.chi2.ppf(0.975, 2 * total + 2) / 2 / topic_months
        counts = f"{total} ({kinds['volume']}, {kinds['negative_share']}) | {total / topic_months:.2f}"
        by_month_text = ", ".join(map(str, by_month))
        print(f"| {name} | {topic_months} | {counts} | {low:.2f} to {high:.2f} | {by_month_text} |", flush=True)


def kilobytes_per_text(posts: Sequence[SimulatedPost]) -> float:
    """Memory of a text that `NearCopies` remembers."""
    tracemalloc.start()
    copies = NearCopies()
    for post in posts:
        copies.add(post.text, post.time)
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return memory / len(copies) / 1000


def measure_day() -> None:
    """The simulated day, from posts to alerts."""
    stream = SimulatedStream(StreamSettings())
    detector = SurgeDetector(DetectorSettings())
    begin = time.process_time()
    history = detector_alarms(stream.history(), detector)
    history_seconds = time.process_time() - begin
    posts = list(stream.posts())
    copies = NearCopies()
    outcomes: Counter[tuple[bool, bool]] = Counter()
    counts: Counter[tuple[str, int, bool]] = Counter()
    begin = time.process_time()
    for post in posts:
        is_copy = copies.add(post.text, post.time) is not None
        outcomes[post.is_copy, is_copy] += 1
        if not is_copy:
            counts[post.topic, post.time // SECONDS * SECONDS, post.sentiment == "negative"] += 1
    seconds = time.process_time() - begin
    windows = (
        WindowCount(topic, start, counts[topic, start, False] + counts[topic, start, True], counts[topic, start, True])
        for start in stream.starts_W[-288:].tolist()
        for topic in stream.topics
    )
    events = detector_alarms(windows, detector)
    hits, num_copies = outcomes[True, True], sum(post.is_copy for post in posts)
    print(f"{len(posts)} posts, {num_copies} copies, {len(history)} alarms in 28 days of history")
    print(f"near copies: precision {hits / (hits + outcomes[False, True]):.4f}, recall {hits / num_copies:.4f}")
    print(
        f"near copies: {seconds / len(posts) * 1e6:.0f} us per post, {len(copies)} texts remembered at the end, "
        f"{kilobytes_per_text(posts[:MEMORY_POSTS]):.1f} kB each"
    )
    print(f"detector: {history_seconds / 25 / 35 / 288 * 1e6:.0f} us per window")
    print(SURGE_TABLE)
    report("turnwise", [(event.topic, event.kind, event.at) for event in events], stream.surges, 25)
    for surge in stream.surges:
        opened = [event for event in events if is_hit((event.topic, event.kind, event.at), surge)]
        delay = f"{(opened[0].at - surge.start) / 60:.0f} min" if opened else "missed"
        print(f"  {surge.topic}: {surge.kind} x {surge.factor:.1f}, {(surge.end - surge.start) // 60} min: {delay}")


def draw_picture() -> None:
    """Counts or shares, expectations, alerts and surges of four topics on the simulated day."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    stream = SimulatedStream(StreamSettings())
    ranked = sorted(stream.surges, key=lambda surge: stream.topics.index(surge.topic))
    clear = [surge for surge in ranked if surge.factor > 2.5]
    shown = [surge for kind in ("volume", "negative_share") for surge in [s for s in clear if s.kind == kind][:2]]
    detector = SurgeDetector(DetectorSettings())
    expected: dict[tuple[str, str], list[float]] = {}
    events = []
    midnight = int(stream.starts_W[-288])
    for window in stream.windows():
        if window.topic not in [surge.topic for surge in shown]:
            continue
        events += detector.update(window)
        if window.start >= midnight:
            for kind, value in detector.expected(window.topic).items():
                expected.setdefault((window.topic, kind), []).append(value)
    hours_W = np.arange(288) / 12
    figure, axes = plt.subplots(len(shown), 1, figsize=(8, 7), sharex=True)
    for axis, surge in zip(axes, shown, strict=True):
        index = stream.topics.index(surge.topic)
        counts_W, negative_W = stream.counts_TW[index, -288:], stream.negative_TW[index, -288:]
        values_W = counts_W if surge.kind == "volume" else negative_W / np.maximum(counts_W, 1)
        axis.step(hours_W, values_W, lw=0.7, color="tab:blue", where="post")
        axis.plot(hours_W + 1 / 24, expected[surge.topic, surge.kind], lw=1.2, color="black")
        axis.axvspan((surge.start - midnight) / 3600, (surge.end - midnight) / 3600, color="tab:orange", alpha=0.3)
        for event in events:
            if (event.topic, event.kind) == (surge.topic, surge.kind) and event.at > midnight:
                axis.axvline((event.at - midnight) / 3600, color="red" if event.phase == "opened" else "green", lw=1)
        unit = "texts per 5 minutes" if surge.kind == "volume" else "share of negative texts"
        axis.set_title(
            f"{surge.topic}: {unit}, x {surge.factor:.1f} for {(surge.end - surge.start) // 60} minutes", fontsize=9
        )
        axis.set_xlim(0, 24)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("hour (UTC); black: expected, orange: true surge, red: alert opens, green: alert closes")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=80, metadata={"Software": None})


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", choices=("day", "surges", "false-alarms", "killed-day", "picture"))
    parser.add_argument(
        "--streams", type=int, help="simulated streams of 25 topics; default: 5 (surges), 8 (false-alarms)"
    )
    parser.add_argument("--months", type=int, default=1, help="false-alarms: months after the warm-up")
    parser.add_argument("--kills", type=int, default=10, help="killed-day: number of kills")
    parser.add_argument("--alone", action="store_true", help="surges: without the other detectors")
    arguments = parser.parse_args()
    match arguments.measurement:
        case "day":
            measure_day()
        case "surges":
            measure_surges(arguments.streams or 5, not arguments.alone)
        case "false-alarms":
            measure_false_alarms(arguments.streams or 8, arguments.months)
        case "killed-day":
            monitor_killed_day.main(["--kills", str(arguments.kills)])
        case _:
            draw_picture()


if __name__ == "__main__":
    main()
