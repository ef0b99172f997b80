"""Throughput compared with transformers and llama.cpp on one checkpoint.

    python benchmarks/peers.py FOLDER                                         transformers only
    python benchmarks/peers.py FOLDER --llama-python VENV/bin/python \\
        --gguf small.f16.gguf small.q8_0.gguf --quantize int8
    python benchmarks/peers.py small.q4_1.gguf --transformers \\
        --llama-python VENV/bin/python --gguf small.q4_1.gguf             one GGUF file as it is stored

Every side runs in its own process and waits while another one is measured. The sides are measured in rotation; ratios
are medians over rounds of Turnwise's speed divided by the other side's, for every type of weights. Prompts have 128
tokens, answers 64; decoding is greedy, in one batch. The GGUF files must hold the same weights (llama.cpp's own tools
convert a folder). Run it on a quiet machine: idle threads of all sides spin, so a busy core slows down each of them
several times.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ANSWER_TOKENS = 64
SIDES = Path(__file__).parent / "sides"

Speeds = dict[str, float]
"""Tokens per second: `prefill` and `decode`."""


class Side:
    """A process that reads `WIDTH NEW` and prints its speeds as JSON."""

    def __init__(self, name: str, command: list[str], threads: int) -> None:
        self.name = name
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TRANSFORMERS_VERBOSITY": "error"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip

    def measure(self, num_sequences: int, new_tokens: int = ANSWER_TOKENS) -> Speeds:
        """Generate `new_tokens` tokens for each of `num_sequences` prompts."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{num_sequences} {new_tokens}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended; run its script in benchmarks/sides/ alone to see why")
        speeds: Speeds = json.loads(line)
        return speeds

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def start_sides(args: argparse.Namespace) -> list[Side]:
    """Start all sides, those of Turnwise first."""
    max_sequences, threads = str(max(args.widths)), args.threads
    turnwise = [sys.executable, str(SIDES / "turnwise_side.py"), str(args.model), max_sequences]
    sides = [Side("turnwise", turnwise, threads)]
    sides += [Side(f"turnwise {dtype}", [*turnwise, dtype], threads) for dtype in args.quantize]
    for dtype in args.transformers:
        command = [sys.executable, str(SIDES / "transformers_side.py"), str(args.model), dtype]
        sides.append(Side(f"transformers {dtype}", command, threads))
    for file in args.gguf:
        command = [str(args.llama_python), str(SIDES / "llama_cpp_side.py"), str(file), str(threads)]
        sides.append(Side(f"llama.cpp {file.name.split('.')[-2]}", command, threads))
    return sides


def print_ratios(names: list[str], rounds: dict[int, list[dict[str, Speeds]]]) -> None:
    """Print the decode speed of every Turnwise side relative to every other side, median over rounds."""
    print(f"\n| decode, ratios | {' | '.join(map(str, rounds))} |")
    print("| --- |" + " --- |" * len(rounds))
    for name in [name for name in names if name.startswith("turnwise")]:
        for peer in [name for name in names if not name.startswith("turnwise")]:
            ratios = [
                statistics.median(speeds[name]["decode"] / speeds[peer]["decode"] for speeds in width_rounds)
                for width_rounds in rounds.values()
            ]
            print(f"| {name} / {peer} | {' | '.join(f'{ratio:.2f}×' for ratio in ratios)} |")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model folder or a GGUF file")
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 4, 8, 16, 32], help="numbers of sequences")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--transformers", nargs="*", default=["float32"], metavar="DTYPE")
    parser.add_argument("--quantize", nargs="*", default=[], choices=["int8", "int4"])
    parser.add_argument("--gguf", type=Path, nargs="*", default=[], help="the same weights for llama.cpp")
    parser.add_argument("--llama-python", type=Path, help="a Python with llama-cpp-python")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    args = parser.parse_args()
    if args.gguf and args.llama_python is None:
        parser.error("--gguf needs --llama-python")
    print(f"{platform.machine()}, {args.threads} threads, {args.model}, median of {args.rounds} rounds")
    print("| sequences | side | prefill, tokens/s | decode, tokens/s | time per token, ms |")
    print("| --- | --- | --- | --- | --- |")
    sides, report = start_sides(args), []
    rounds: dict[int, list[dict[str, Speeds]]] = {}
    for width in args.widths:
        for side in sides:
            side.measure(width, 4)  # warms up
        rounds[width] = [{side.name: side.measure(width) for side in sides} for _ in range(args.rounds)]
        for side in sides:
            prefill, decode = (
                statistics.median(speeds[side.name][phase] for speeds in rounds[width])
                for phase in ("prefill", "decode")
            )
            report.append({"width": width, "side": side.name, "prefill": prefill, "decode": decode})
            print(
                f"| {width} | {side.name} | {prefill:,.0f} | {decode:,.0f} | {1000 * width / decode:.2f} |", flush=True
            )
    print_ratios([side.name for side in sides], rounds)
    for side in sides:
        side.close()
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
