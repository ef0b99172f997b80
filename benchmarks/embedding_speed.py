"""Speed of an embedding model beside sentence-transformers on the same folder, as ratios from one run.

    python benchmarks/embedding_speed.py minilm --peer-python VENV/bin/python

VENV has sentence-transformers. Every side is a process of its own that waits while another is measured; they take
turns, round by round, and the ratios are medians over rounds. The texts have one to twelve sentences. "batches of 32"
is a plain loop that embeds 32 texts at a time; "all texts at once" lets both sides sort all texts by length first.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from turnwise.app.embedding_services import open_embedding_service
from turnwise.app.model_names import resolve_model_folder

SIDES = Path(__file__).parent / "sides"
MODES = {"batches": "batches of 32", "all": "all texts at once"}


class Side:
    """A process that answers `MODE COUNT` with its figures."""

    def __init__(self, command: list[str], threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        if command[0] != sys.executable:
            environment.pop("PYTHONPATH", None)
        self._command = command
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip

    def measure(self, mode: str, count: int) -> dict:
        """Seconds and the first vectors."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{mode} {count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"A side has ended; run it by hand to see why: {' '.join(self._command)}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--texts", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = str(resolve_model_folder(options.model))
    tokenizer = open_embedding_service(folder).tokenizer
    prefix, threads = tokenizer.prefixes.get(tokenizer.default_type or "", ""), str(options.threads)
    sides = {
        name: Side([sys.executable, str(SIDES / "turnwise_embedding_side.py"), folder, name, threads], options.threads)
        for name in ("float", "int8")
    }
    peer_command = [options.peer_python, str(SIDES / "sentence_transformers_side.py"), folder, prefix, threads]
    sides["sentence-transformers"] = Side(peer_command, options.threads)
    print(f"{options.texts} texts, {options.threads} threads, median of {options.rounds} rounds\n")
    print("| texts | weights | tokens/s | sentence-transformers | ratio | lowest cosine |\n" + "| --- " * 6 + "|")
    for mode, title in MODES.items():
        for side in sides.values():
            side.measure(mode, 32)  # warm up
        rounds = [
            {name: side.measure(mode, options.texts) for name, side in sides.items()} for _ in range(options.rounds)
        ]
        peers = [figures["sentence-transformers"] for figures in rounds]
        for name in ("float", "int8"):
            ours = [figures[name] for figures in rounds]
            ratio = statistics.median(peer["seconds"] / own["seconds"] for peer, own in zip(peers, ours, strict=True))
            tokens = ours[0]["tokens"]
            speeds = [tokens / statistics.median(entry["seconds"] for entry in side) for side in (ours, peers)]
            pairs = zip(ours[0]["vectors"], peers[0]["vectors"], strict=True)
            cosine = min(sum(x * y for x, y in zip(left, right, strict=True)) for left, right in pairs)
            print(
                f"| {title} | {name} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {ratio:.2f} | {cosine:.4f} |", flush=True
            )
    for side in sides.values():
        side.close()


if __name__ == "__main__":
    main()
