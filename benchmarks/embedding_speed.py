"""Speed of an embedding model compared with sentence-transformers on the same folder.

    python benchmarks/embedding_speed.py minilm --peer-python VENV/bin/python

VENV has sentence-transformers. Every side runs in its own process and waits while another one is measured. The sides
are measured in rotation; speeds and ratios are medians over rounds. The texts have one to twelve sentences. "batches of
32" is a plain loop over 32 texts at a time; "all texts at once" lets both sides sort all texts by length first.
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
    """A process that reads `MODE COUNT` and prints its measurements as JSON."""

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
        """Send `MODE COUNT`; returns the measurements of `count` texts, which for all sides include `seconds`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{mode} {count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"A side ended; run it alone to see why: {' '.join(self._command)}")
        return json.loads(line)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder or name")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with sentence-transformers")
    parser.add_argument("--texts", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    folder = str(resolve_model_folder(args.model))
    tokenizer = open_embedding_service(folder).tokenizer
    prefix, threads = tokenizer.prefixes.get(tokenizer.default_type or "", ""), str(args.threads)
    sides = {
        name: Side([sys.executable, str(SIDES / "turnwise_embedding_side.py"), folder, name, threads], args.threads)
        for name in ("float", "int8")
    }
    peer_command = [args.peer_python, str(SIDES / "sentence_transformers_side.py"), folder, prefix, threads]
    sides["sentence-transformers"] = Side(peer_command, args.threads)
    print(f"{args.texts} texts, {args.threads} threads, median of {args.rounds} rounds\n")
    print("| texts | weights | tokens/s | sentence-transformers | ratio | lowest cosine |\n" + "| --- " * 6 + "|")
    for mode, title in MODES.items():
        for side in sides.values():
            side.measure(mode, 32)  # warm up
        rounds = [{name: side.measure(mode, args.texts) for name, side in sides.items()} for _ in range(args.rounds)]
        peer_rounds = [results["sentence-transformers"] for results in rounds]
        for name in ("float", "int8"):
            our_rounds = [results[name] for results in rounds]
            pairs = zip(our_rounds, peer_rounds, strict=True)
            ratio = statistics.median(peer["seconds"] / ours["seconds"] for ours, peer in pairs)
            tokens = our_rounds[0]["tokens"]
            speed, peer_speed = (
                tokens / statistics.median(result["seconds"] for result in side_rounds)
                for side_rounds in (our_rounds, peer_rounds)
            )
            vector_pairs = zip(our_rounds[0]["vectors"], peer_rounds[0]["vectors"], strict=True)
            cosine = min(sum(x * y for x, y in zip(left, right, strict=True)) for left, right in vector_pairs)
            print(f"| {title} | {name} | {speed:,.0f} | {peer_speed:,.0f} | {ratio:.2f} | {cosine:.4f} |", flush=True)
    for side in sides.values():
        side.close()


if __name__ == "__main__":
    main()
