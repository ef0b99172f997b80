"""Decoding speed while other processes take cores: the pool that adapts beside fixed numbers of threads, as ratios.

    python benchmarks/busy.py                     the bundled model and a random checkpoint of 19M parameters
    python benchmarks/busy.py --model FOLDER      this model folder

For 0, 1, ... all cores taken by processes that only compute, it prints decode tokens per second on every fixed number
of threads and on as many as the pool chooses, and the ratio of the latter to the best of the former. All take turns,
round by round; figures are totals over rounds. Nothing else may run on the machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import torch

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.inference import GenerationEvent, GenerationRequest, TokenEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.models import checkpoint
from turnwise.models.decoder_config import DecoderConfig

SMALL = DecoderConfig(
    family="qwen2", vocab_size=8192, hidden_size=384, intermediate_size=1024, num_layers=10, num_heads=6,
    num_kv_heads=2, head_dim=64, context_length=4096, qkv_bias=True,
)  # fmt: skip
PROMPT = 16


def decode(engine: Engine, chats: int, seconds: float) -> float:
    """Tokens per second of `chats` sequences that are decoded side by side for a while."""
    tokens, done = [0] * chats, threading.Semaphore(0)
    stop = threading.Event()

    def listener(row: int):
        def on_event(event: GenerationEvent) -> None:
            tokens[row] += isinstance(event, TokenEvent)
            if event.finish_reason:
                done.release()

        return on_event

    params = GenerationParams(temperature=0)
    most = engine.context_length - PROMPT
    tickets = []
    for row in range(chats):
        prompt = tuple(5 + (row * 7 + i * 13) % 1000 for i in range(PROMPT))
        request = GenerationRequest(prompt, params, most, frozenset())
        tickets.append(engine.submit(request, listener(row)))
    while not all(tokens):
        time.sleep(0.001)
    before, began = sum(tokens), time.perf_counter()
    stop.wait(seconds)
    speed = (sum(tokens) - before) / (time.perf_counter() - began)
    for ticket in tickets:
        ticket.cancel()
    for _ in tickets:
        done.acquire()
    return speed


def measure(engine: Engine, chats: int, cores: int, taken: int, rounds: int, seconds: float) -> None:
    """Print one line: speeds by number of threads, 0 being the pool's own choice."""
    runner = engine._runner
    assert isinstance(runner, NativeRunner), "the compiled library is needed"
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(taken)]
    speeds: dict[int, list[float]] = defaultdict(list)
    try:
        time.sleep(0.2)
        for _ in range(rounds):
            for threads in (0, *range(1, cores + 1)):
                runner.set_test_perturbation(threads)
                speeds[threads].append(decode(engine, chats, seconds))
    finally:
        for other in others:
            other.kill()
            other.wait()
    mean = {threads: sum(values) / len(values) for threads, values in speeds.items()}
    best = max(mean[threads] for threads in mean if threads)
    fixed = ", ".join(f"{threads}: {mean[threads]:,.0f}" for threads in sorted(mean) if threads)
    print(
        f"  {chats:>2} chats, {taken} cores taken: fixed {fixed}; adaptive {mean[0]:,.0f}, {mean[0] / best:.2f}x",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; default: the bundled model and a random one")
    parser.add_argument("--chats", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="of every measurement")
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(cores)
    with tempfile.TemporaryDirectory() as temporary:
        folders = {given.model.name: given.model} if given.model else {"bundled": resolve_model_folder(None)}
        if not given.model:
            folders["19M"] = Path(temporary)
            checkpoint.save(checkpoint.create(SMALL, seed=0), folders["19M"])
        for name, folder in folders.items():
            engine = Engine(
                checkpoint.load(folder, dtype=torch.float32).decoder,
                max_num_seqs=max(given.chats),
                enable_speculation=False,
            )
            print(f"{name}, tokens per second on {cores} cores", flush=True)
            for chats in given.chats:
                for taken in range(cores + 1):
                    measure(engine, chats, cores, taken, given.rounds, given.seconds)
            engine.close()


if __name__ == "__main__":
    main()
