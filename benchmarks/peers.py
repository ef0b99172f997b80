"""Throughput beside transformers and llama.cpp on one checkpoint, as ratios from one run.

    python benchmarks/peers.py FOLDER                                         transformers alone
    python benchmarks/peers.py FOLDER --llama-python VENV/bin/python \\
        --gguf small.f16.gguf small.q8_0.gguf --quantize int8
    python benchmarks/peers.py small.q4_1.gguf --transformers \
        --llama-python VENV/bin/python --gguf small.q4_1.gguf             one GGUF file, as it is stored

Every side is a process of its own that waits while another is measured. They take turns, round by round; the ratios are
medians over rounds of Turnwise's figure by the other's, for every type of weights. Prompts have 128 tokens, answers 64,
greedy, all chats at once. The GGUF files have to hold the same weights (llama.cpp's own tools convert a folder). Run it
on a quiet machine: threads of all sides wait by spinning, and a busy neighbour costs any of them a multiple.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

NEW = 64
SIDES = Path(__file__).parent / "sides"


class Side:
    """A process that answers `WIDTH NEW` with its figures."""

    def __init__(self, name: str, command: list[str], threads: int) -> None:
        self.name = name
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TRANSFORMERS_VERBOSITY": "error"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip

    def measure(self, width: int, new: int = NEW) -> dict[str, float]:
        """Tokens a second: `prefill` and `decode`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{width} {new}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} has ended; run its side in benchmarks/sides/ by hand to see why")
        found: dict[str, float] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def sides(given: argparse.Namespace) -> list[Side]:
    """All sides; Turnwise's first."""
    widest, threads = str(max(given.widths)), given.threads
    ours = [sys.executable, str(SIDES / "turnwise_side.py"), str(given.model), widest]
    found = [Side("turnwise", ours, threads)]
    found += [Side(f"turnwise {kind}", [*ours, kind], threads) for kind in given.quantize]
    for dtype in given.transformers:
        theirs = [sys.executable, str(SIDES / "transformers_side.py"), str(given.model), dtype]
        found.append(Side(f"transformers {dtype}", theirs, threads))
    for file in given.gguf:
        command = [str(given.llama_python), str(SIDES / "llama_cpp_side.py"), str(file), str(threads)]
        found.append(Side(f"llama.cpp {file.name.split('.')[-2]}", command, threads))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model folder or a GGUF file")
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--transformers", nargs="*", default=["float32"], metavar="DTYPE")
    parser.add_argument("--quantize", nargs="*", default=[], choices=["int8", "int4"])
    parser.add_argument("--gguf", type=Path, nargs="*", default=[], help="the same weights for llama.cpp")
    parser.add_argument("--llama-python", type=Path, help="a Python that has llama-cpp-python")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    if given.gguf and given.llama_python is None:
        parser.error("--gguf needs --llama-python")
    print(f"{platform.machine()}, {given.threads} threads, {given.model}, median of {given.rounds} rounds")
    print("| chats | side | prefill, tokens/s | decode, tokens/s | a token every, ms |")
    print("| --- | --- | --- | --- | --- |")
    running, report = sides(given), []
    rounds: dict[int, list[dict[str, dict[str, float]]]] = {}
    for width in given.widths:
        for side in running:
            side.measure(width, 4)  # warms up
        rounds[width] = [{side.name: side.measure(width) for side in running} for _ in range(given.rounds)]
        for side in running:
            row = {
                what: statistics.median(found[side.name][what] for found in rounds[width])
                for what in ("prefill", "decode")
            }
            report.append({"width": width, "side": side.name, **row})
            print(
                f"| {width} | {side.name} | {row['prefill']:,.0f} | {row['decode']:,.0f} "
                f"| {1000 * width / row['decode']:.2f} |",
                flush=True,
            )
    ours = [side.name for side in running if side.name.startswith("turnwise")]
    print(f"\n| decode, ratios | {' | '.join(map(str, given.widths))} |")
    print("| --- |" + " --- |" * len(given.widths))
    for one in ours:
        for other in [side.name for side in running if side.name not in ours]:
            ratios = [
                statistics.median(found[one]["decode"] / found[other]["decode"] for found in rounds[width])
                for width in given.widths
            ]
            print(f"| {one} / {other} | {' | '.join(f'{ratio:.2f}×' for ratio in ratios)} |")
    for side in running:
        side.close()
    if given.out:
        given.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
