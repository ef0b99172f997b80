"""Decode speed by context length and number of sequences: a table, and optionally a plot.

    python benchmarks/cost.py                              a random checkpoint of 19M parameters
    python benchmarks/cost.py --model FOLDER --picture docs/pictures/cost.png

Times forward passes of the engine's runner that decode one token of every sequence. All sequences have the same number
of cached tokens, in their own KV blocks. The KV cache is filled with random numbers instead of by prefill: the time
depends on its size and layout, not on its values. Figures are medians over rounds.
"""

import argparse
import statistics
import tempfile
import time
from array import array
from pathlib import Path

import numpy as np
import torch

from turnwise.core.inference import Quantization
from turnwise.engine.batch import BatchEntry
from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.runners.model_runner import make_runner
from turnwise.models import checkpoint
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_config import DecoderConfig

SMALL = DecoderConfig(
    family="qwen2", vocab_size=8192, hidden_size=384, intermediate_size=1024, num_layers=10, num_heads=6,
    num_kv_heads=2, head_dim=64, context_length=4224, qkv_bias=True,
)  # fmt: skip

Seconds = dict[tuple[int, int], float]
"""Median duration of a forward pass by context length and number of sequences."""


def measure(
    decoder: Decoder, quantize: Quantization | None, contexts: list[int], batch_sizes: list[int], rounds: int
) -> Seconds:
    """Time forward passes of every combination."""
    blocks_per_sequence = blocks_for(max(contexts) + 1)
    runner = make_runner(decoder, max(batch_sizes) * blocks_per_sequence, quantize)
    assert isinstance(runner, NativeRunner), "the compiled library is needed"
    noise = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)
    if quantize is not None:  # the KV cache is bfloat16
        noise = (noise.view(np.uint32) >> 16).astype(np.uint16)
    for cache in (runner._keys, runner._values):
        flat = cache.reshape(-1)
        for start in range(0, len(flat), len(noise)):
            flat[start : start + len(noise)] = noise[: len(flat) - start]
    medians = {}
    for context in contexts:
        for size in batch_sizes:
            block_tables = [
                array("i", range(index * blocks_per_sequence, (index + 1) * blocks_per_sequence))
                for index in range(size)
            ]
            batch = [BatchEntry(table, context, [5 + index], 1) for index, table in enumerate(block_tables)]
            durations = []
            for _ in range(rounds + 1):
                start = time.perf_counter()
                runner.forward(batch)
                durations.append(time.perf_counter() - start)
            medians[context, size] = statistics.median(durations[1:])  # the first pass warms up
    return medians


def plot(seconds: Seconds, contexts: list[int], batch_sizes: list[int], path: Path) -> None:
    """Plot milliseconds per token by context length, one curve per number of sequences."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    milliseconds = {key: 1000 * value / key[1] for key, value in seconds.items()}
    figure, axes = plt.subplots(figsize=(7, 4))
    for size in batch_sizes:
        axes.plot(
            contexts,
            [milliseconds[context, size] for context in contexts],
            "o-",
            label="1 sequence" if size == 1 else f"{size} sequences",
        )
    axes.set(xscale="log", yscale="log", xlabel="cached tokens of every sequence", ylabel="milliseconds per token")
    axes.set_xticks(contexts, [str(context) for context in contexts])
    axes.set_yticks(ticks := [2.0**power for power in range(-3, 4)], [f"{tick:g}" for tick in ticks])
    axes.set_ylim(0.8 * min(milliseconds.values()), 1.25 * max(milliseconds.values()))
    axes.minorticks_off()
    axes.legend(ncols=2, fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; default: a random checkpoint of 19M parameters")
    parser.add_argument(
        "--contexts", type=int, nargs="+", default=[128, 256, 512, 1024, 2048, 4096],
        help="cached tokens of every sequence",
    )  # fmt: skip
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64], help="numbers of sequences")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quantize", choices=["int8", "int4"])
    parser.add_argument("--picture", type=Path, help="write the plot to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model or Path(temporary)
        if args.model is None:
            checkpoint.save(checkpoint.create(SMALL, seed=0), folder)
        decoder = checkpoint.load(folder, dtype=torch.float32).decoder
    print(f"tokens/s of all sequences together; blocks of {BLOCK_SIZE} tokens, {torch.get_num_threads()} threads")
    print(f"| context | {' | '.join(f'{size} sequences' for size in args.widths)} |")
    print("| --- |" + " --- |" * len(args.widths))
    seconds = measure(decoder, args.quantize, args.contexts, args.widths, args.rounds)
    for context in args.contexts:
        cells = [f"{size / seconds[context, size]:,.0f}" for size in args.widths]
        print(f"| {context} | {' | '.join(cells)} |")
    if args.picture:
        plot(seconds, args.contexts, args.widths, args.picture)


if __name__ == "__main__":
    main()
