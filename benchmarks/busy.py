"""Decode speed while other processes use cores: the adaptive thread pool compared with fixed numbers of threads.

    python benchmarks/busy.py                     the default model and a random checkpoint of 19M parameters
    python benchmarks/busy.py --model FOLDER      this model folder

For 0, 1, ... all cores busy with processes that only compute, it prints decode tokens per second with every fixed
number of threads and with the number that the pool chooses, and the ratio of the latter to the best fixed number. The
settings are measured in rotation; figures are means over rounds. Run it on a quiet machine.
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
PROMPT_TOKENS = 16
ADAPTIVE = 0  # threads: the pool chooses


def decode_speed(engine: Engine, num_sequences: int, seconds: float) -> float:
    """Tokens per second of `num_sequences` sequences in one batch, measured for `seconds` after all first tokens."""
    num_tokens, finished = [0] * num_sequences, threading.Semaphore(0)

    def make_listener(index: int):
        def on_event(event: GenerationEvent) -> None:
            num_tokens[index] += isinstance(event, TokenEvent)
            if event.finish_reason:
                finished.release()

        return on_event

    params = GenerationParams(temperature=0)
    max_tokens = engine.context_length - PROMPT_TOKENS
    handles = []
    for index in range(num_sequences):
        prompt = tuple(5 + (index * 7 + position * 13) % 1000 for position in range(PROMPT_TOKENS))
        request = GenerationRequest(prompt, params, max_tokens, frozenset())
        handles.append(engine.submit(request, make_listener(index)))
    while not all(num_tokens):
        time.sleep(0.001)
    start_tokens, start = sum(num_tokens), time.perf_counter()
    time.sleep(seconds)
    speed = (sum(num_tokens) - start_tokens) / (time.perf_counter() - start)
    for handle in handles:
        handle.cancel()
    for _ in handles:
        finished.acquire()
    return speed


def measure(engine: Engine, num_sequences: int, cores: int, busy_cores: int, rounds: int, seconds: float) -> None:
    """Print the speeds by number of threads while `busy_cores` processes compute."""
    runner = engine._runner
    assert isinstance(runner, NativeRunner), "the compiled library is needed"
    busy_processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy_cores)]
    speeds: dict[int, list[float]] = defaultdict(list)
    try:
        time.sleep(0.2)
        for _ in range(rounds):
            for threads in (ADAPTIVE, *range(1, cores + 1)):
                runner.set_test_perturbation(threads)
                speeds[threads].append(decode_speed(engine, num_sequences, seconds))
    finally:
        for process in busy_processes:
            process.kill()
            process.wait()
    means = {threads: sum(values) / len(values) for threads, values in speeds.items()}
    adaptive = means.pop(ADAPTIVE)
    fixed = ", ".join(f"{threads}: {means[threads]:,.0f}" for threads in sorted(means))
    print(
        f"  {num_sequences:>2} sequences, {busy_cores} busy cores: fixed {fixed}; adaptive {adaptive:,.0f}, "
        f"{adaptive / max(means.values()):.2f}x",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; default: tiny and a random model")
    parser.add_argument("--chats", type=int, nargs="+", default=[1, 8], help="concurrent sequences (default: 1 8)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="duration of one measurement (default: 0.4)")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(cores)
    with tempfile.TemporaryDirectory() as temporary:
        folders = {args.model.name: args.model} if args.model else {"tiny": resolve_model_folder("tiny")}
        if not args.model:
            folders["19M"] = Path(temporary)
            checkpoint.save(checkpoint.create(SMALL, seed=0), folders["19M"])
        for name, folder in folders.items():
            engine = Engine(
                checkpoint.load(folder, dtype=torch.float32).decoder,
                max_num_seqs=max(args.chats),
                enable_speculation=False,
            )
            print(f"{name}, tokens per second on {cores} cores", flush=True)
            for num_sequences in args.chats:
                for busy_cores in range(cores + 1):
                    measure(engine, num_sequences, cores, busy_cores, args.rounds, args.seconds)
            engine.close()


if __name__ == "__main__":
    main()
