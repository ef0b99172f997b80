"""Pauses between the tokens of a chat while `turnwise improve` runs on the same machine, and without it.

    python benchmarks/tuning_beside_serving.py --out beside --models ~/.local/share/turnwise/models
    python benchmarks/tuning_beside_serving.py --out beside --streams 4

A server with the default model answers without a break, each time another of the bundled prompts: drafts of repeated
answers would make it faster with time. Ten answers are corrected, and a short cycle of `turnwise improve` runs, as from
another terminal: both processes are in sessions of their own. Printed: pauses between two tokens before the cycle, in
each of its steps, and after it, in milliseconds, and their ratio to those without a cycle, before and after. Goal: a
95 % quantile of at most 1.5 times.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from improvement_parts.fresh_home import FreshHome
from turnwise.data.prompts import bundled_prompts

STEPS = ("select", "replay", "train", "compare", "decide")
SETTINGS = """\
tuning: {num_replay_replies: 80}
proof: {alphas: [1.0]}
"""  # a short cycle: the load of each step does not depend on its length
GOAL = 1.5


class Chats:
    """Streams that ask one question after the other, and the pauses between their tokens by phase."""

    def __init__(self, url: str, num_streams: int, phase: Callable[[], str]) -> None:
        """Prepare streams to a server; `phase` names the present phase."""
        self.pauses: dict[str, list[float]] = defaultdict(list)
        self._url, self._num_streams, self._phase = url, num_streams, phase
        self._is_stopped = threading.Event()
        self._prompts, self._lock = bundled_prompts(seed=0), threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask within the block."""
        threads = [threading.Thread(target=self._run) for _ in range(self._num_streams)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_stopped.set()
            for thread in threads:
                thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=120) as client:
            while not self._is_stopped.is_set():
                with self._lock:
                    prompt = next(self._prompts)
                self._stream(client, [{"role": message.role, "content": message.content} for message in prompt])

    def _stream(self, client: httpx.Client, messages: list[dict[str, str]]) -> None:
        body = {"model": "latest", "messages": messages, "max_tokens": 120, "temperature": 1, "stream": True}
        last_time = None
        with client.stream("POST", f"{self._url}/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    now = time.perf_counter()
                    if last_time is not None:
                        self.pauses[self._phase()].append(now - last_time)
                    last_time = now


def present_step(home: Path) -> str:
    """The step that the cycle has not completed."""
    for path in home.glob("improve/*/cycles/*/cycle.json"):
        complete = json.loads(path.read_text(encoding="utf-8"))["steps"]
        return next((step for step in STEPS if step not in complete), STEPS[-1])
    return STEPS[0]


def quantiles(pauses: list[float]) -> tuple[float, float, float]:
    """Quantiles of 50, 95 and 99 %, in milliseconds."""
    cuts = statistics.quantiles(pauses, n=100)
    return 1000 * cuts[49], 1000 * cuts[94], 1000 * cuts[98]


def measure(home: FreshHome, num_streams: int, seconds: float) -> dict[str, list[float]]:
    """Pauses by phase."""
    improving = threading.Event()
    label = {"phase": "before"}
    chats = Chats(home.url, num_streams, lambda: present_step(home.home) if improving.is_set() else label["phase"])
    with home.server():
        home.correct_answers()
        with chats.running():
            time.sleep(seconds)
            improving.set()
            command = [sys.executable, "-m", "turnwise", "improve", "--once"]
            subprocess.run(command, env=home.environment, check=True, start_new_session=True)
            label["phase"] = "after"
            improving.clear()
            time.sleep(seconds)
    return dict(chats.pauses)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new folder, TURNWISE_HOME of the benchmark")
    parser.add_argument("--models", type=Path, help="folder of pulled models to link; default: pull the base model")
    parser.add_argument("--port", type=int, default=8124)
    parser.add_argument("--streams", type=int, default=1, help="chats at the same time")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the phases without a cycle")
    options = parser.parse_args()
    home = FreshHome(options.out, options.port, options.models)
    (home.home / "improve.yaml").write_text(SETTINGS, encoding="utf-8")
    pauses = measure(home, options.streams, options.seconds)
    base = quantiles(pauses["before"] + pauses["after"])
    print(f"\n{options.streams} chat(s) at the same time; ratios to the times without a cycle")
    print("| phase | pauses | median | 95 % | 99 % | median ratio | 95 % ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    together = [pause for phase, values in pauses.items() if phase not in ("before", "after") for pause in values]
    for phase, values in [*pauses.items(), ("all steps", together)]:
        if len(values) > 100:
            p50, p95, p99 = quantiles(values)
            print(
                f"| {phase} | {len(values)} | {p50:.1f} | {p95:.1f} | {p99:.1f} "
                f"| {p50 / base[0]:.2f} | {p95 / base[1]:.2f} |"
            )
    ratio = quantiles(together)[1] / base[1]
    print(f"\n95 % quantile beside a cycle: {ratio:.2f} times (goal: at most {GOAL})")


if __name__ == "__main__":
    main()
