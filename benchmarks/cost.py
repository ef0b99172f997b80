"""How the cost of a token grows with context and company: a table, and a picture where one is asked for.

    python benchmarks/cost.py                              a random checkpoint of 19M parameters
    python benchmarks/cost.py --model FOLDER --picture docs/pictures/cost.png

Times passes of the engine's runner that bring every chat one token further, the chats having so many tokens in the
cache each, in memory of their own. The cache is filled with random numbers instead of being read into: what takes time
is where numbers lie and how many there are, not what they are. Medians over rounds.
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


def measure(
    decoder: Decoder, quantize: Quantization | None, contexts: list[int], widths: list[int], rounds: int
) -> dict[tuple[int, int], float]:
    """Seconds of a pass by context and width."""
    most = blocks_for(max(contexts) + 1)
    runner = make_runner(decoder, max(widths) * most, quantize)
    assert isinstance(runner, NativeRunner), "there is no compiled library"
    noise = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)
    if quantize is not None:  # bfloat16
        noise = (noise.view(np.uint32) >> 16).astype(np.uint16)
    for held in (runner._keys, runner._values):
        flat = held.reshape(-1)
        for start in range(0, len(flat), len(noise)):
            flat[start : start + len(noise)] = noise[: len(flat) - start]
    found = {}
    for context in contexts:
        for width in widths:
            tables = [array("i", range(chat * most, (chat + 1) * most)) for chat in range(width)]
            spans = [BatchEntry(table, context, [5 + chat], 1) for chat, table in enumerate(tables)]
            took = []
            for _ in range(rounds + 1):
                start = time.perf_counter()
                runner.forward(spans)
                took.append(time.perf_counter() - start)
            found[context, width] = statistics.median(took[1:])
    return found


def draw(found: dict[tuple[int, int], float], contexts: list[int], widths: list[int], path: Path) -> None:
    """Milliseconds for a token of one chat, by context, a line for every width."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for width in widths:
        axes.plot(
            contexts,
            [1000 * found[context, width] / width for context in contexts],
            "o-",
            label="1 chat" if width == 1 else f"{width} chats",
        )
    axes.set(xscale="log", yscale="log", xlabel="tokens in the cache of every chat", ylabel="milliseconds for a token")
    axes.set_xticks(contexts, [str(context) for context in contexts])
    axes.set_yticks(marks := [2.0**power for power in range(-3, 4)], [f"{mark:g}" for mark in marks])
    axes.set_ylim(
        0.8 * 1000 * min(found[key] / key[1] for key in found), 1250 * max(found[key] / key[1] for key in found)
    )
    axes.minorticks_off()
    axes.legend(ncols=2, fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; left out: a random checkpoint of 19M parameters")
    parser.add_argument("--contexts", type=int, nargs="+", default=[128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quantize", choices=["int8", "int4"])
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.model or Path(temporary)
        if given.model is None:
            checkpoint.save(checkpoint.create(SMALL, seed=0), folder)
        decoder = checkpoint.load(folder, dtype=torch.float32).decoder
    print(f"tokens a second of all chats together; blocks of {BLOCK_SIZE} tokens, {torch.get_num_threads()} threads")
    print(f"| context | {' | '.join(f'{width} chats' for width in given.widths)} |")
    print("| --- |" + " --- |" * len(given.widths))
    found = measure(decoder, given.quantize, given.contexts, given.widths, given.rounds)
    for context in given.contexts:
        cells = [f"{width / found[context, width]:,.0f}" for width in given.widths]
        print(f"| {context} | {' | '.join(cells)} |")
    if given.picture:
        draw(found, given.contexts, given.widths, given.picture)


if __name__ == "__main__":
    main()
