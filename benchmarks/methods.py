"""What a method brings for so many dialogues: held-out loss, time and memory.

    python benchmarks/methods.py DATA --out methods.json          DATA/train.jsonl.gz and DATA/test.jsonl.gz
    python benchmarks/methods.py DATA --methods lora full --sizes 100 --seeds 0 --rates lora=0.001,0.003

Each run is a process of its own on one core: the first so many dialogues in an order drawn by the seed, a fifth of them
for early stopping, and the same test dialogues for all. The loss is per token of the assistant's; its gain is how far
it falls below that of the base. Memory is the process's most, libraries included.
"""

import argparse
import gzip
import json
import multiprocessing
import os
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

METHODS: dict[str, dict[str, Any]] = {
    "prompt": {"method": {"name": "prompt", "shots": 4, "num_candidates": 8}},
    "freeze": {"method": {"name": "freeze", "last_layers": 2}, "learning_rate": 0.001},
    "lora": {"method": {"name": "lora", "rank": 16}, "learning_rate": 0.002},
    "full": {"method": "full", "learning_rate": 0.0003},
}
STEPS = 60  # at least: fewer dialogues are gone through more often
EPOCHS = 10


def values(name: str, size: int, seed: int, rate: float | None, data: Path, base: str, out: Path) -> dict[str, Any]:
    """The recipe of a run, whose dialogues are written beside `out`."""
    rng = random.Random(seed)
    with gzip.open(data / "train.jsonl.gz", "rt") as file:
        lines = [line for line in file if json.loads(line)["messages"][-1]["role"] == "assistant"]
    chosen = rng.sample(lines, size)
    held_out = max(4, size // 5)
    files = {"valid": chosen[:held_out], "train": chosen[held_out:]}
    for split, found in files.items():
        (out.parent / f"{split}.jsonl").write_text("".join(found))
    said = METHODS[name]
    training: dict[str, Any] = {
        "max_seq_len": 512,
        "batch_size": 4,
        "micro_batch_size": 4,
        "seed": seed,
        "dtype": "float32",
    }
    if "learning_rate" in said:
        # A row of 512 holds six of these dialogues.
        steps = max(STEPS, round(EPOCHS * size / 24))
        training |= {
            "learning_rate": rate or said["learning_rate"],
            "max_steps": steps,
            "eval_steps": max(4, steps // 12),
        }
    return {
        "objective": "sft",
        "method": said["method"],
        "model": {"from": base},
        "data": {"train": str(out.parent / "train.jsonl"), "valid": str(out.parent / "valid.jsonl")},
        "training": training,
        "out": str(out),
    }


def run(said: dict[str, Any], test: Path, found: Any) -> None:
    """Train, then measure the test dialogues with what was saved."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    from torch_reference.perplexity import measure_perplexity
    from turnwise.core.messages import Conversation
    from turnwise.data.sources import read_source
    from turnwise.models import checkpoint
    from turnwise.text.rendering.renderer import Renderer
    from turnwise.text.tokenization.tokenizer import Tokenizer
    from turnwise.training.launch.run_recipe import run_recipe
    from turnwise.training.recipe import parse_recipe

    recipe = parse_recipe(said, origin="benchmark")
    began = time.perf_counter()
    result = run_recipe(recipe)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    folder = Path(recipe.out)
    talks = [item for item in read_source(test) if isinstance(item, Conversation)]
    measured = measure_perplexity(
        checkpoint.load(folder, dtype=torch.float32).decoder, Renderer.from_tokenizer(Tokenizer.load(folder)), talks
    )
    found.put(
        {"loss": measured.nats / measured.tokens, "valid": result.valid_after, "seconds": seconds, "memory": memory}
    )


def base_loss(base: str, test: Path) -> float:
    """The base's own loss on the test dialogues."""
    import torch

    from torch_reference.perplexity import measure_perplexity
    from turnwise.core.messages import Conversation
    from turnwise.data.sources import read_source
    from turnwise.models import checkpoint
    from turnwise.text.rendering.renderer import Renderer
    from turnwise.text.tokenization.tokenizer import Tokenizer

    talks = [item for item in read_source(test) if isinstance(item, Conversation)]
    decoder = checkpoint.load(base, dtype=torch.float32).decoder
    measured = measure_perplexity(decoder, Renderer.from_tokenizer(Tokenizer.load(base)), talks)
    return measured.nats / measured.tokens


def main() -> None:
    """Run what was asked for, print a table, keep the figures."""
    from turnwise.app.model_names import resolve_model_folder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with train.jsonl.gz and test.jsonl.gz")
    parser.add_argument("--base", help="a model folder; left out: the model in the box")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[30, 100, 300, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rates", nargs="*", default=[], help="METHOD=RATE,RATE: try other learning rates")
    parser.add_argument("--out", type=Path, help="write the figures as JSON, and go on from those that are there")
    given = parser.parse_args()
    base, test = str(resolve_model_folder(given.base)), given.data / "test.jsonl.gz"
    rates = {name: [float(rate) for rate in said.split(",")] for name, said in (r.split("=") for r in given.rates)}
    kept: dict[str, Any] = json.loads(given.out.read_text()) if given.out and given.out.is_file() else {}
    before = kept.setdefault("base", base_loss(base, test))
    context = multiprocessing.get_context("spawn")
    for size in given.sizes:
        for name in given.methods:
            for rate in rates.get(name, [None]):
                for seed in given.seeds:
                    key = f"{name} {size} {seed}" + (f" {rate:g}" if rate else "")
                    if key in kept:
                        continue
                    with tempfile.TemporaryDirectory() as place:
                        found = context.Queue()
                        said = values(name, size, seed, rate, given.data, base, Path(place) / "model")
                        process = context.Process(target=run, args=(said, test, found))
                        process.start()
                        process.join()
                        kept[key] = found.get(timeout=5)
                    print(key, {k: round(v, 3) for k, v in kept[key].items()}, flush=True)
                    if given.out:
                        given.out.write_text(json.dumps(kept, indent=1))
    if not rates:
        table(kept, given.methods, given.sizes, given.seeds, before)


def table(kept: dict[str, Any], methods: list[str], sizes: list[int], seeds: list[int], before: float) -> None:
    """Means over seeds, with their least and most."""
    print(f"\nloss per token of the base: {before:.3f}")
    print("| dialogues | " + " | ".join(methods) + " |")
    print("| --- |" + " --- |" * len(methods))
    for size in sizes:
        cells = []
        for name in methods:
            runs = [kept[f"{name} {size} {seed}"] for seed in seeds]
            losses = [run["loss"] for run in runs]
            cells.append(
                f"{statistics.mean(losses):.3f} ({min(losses):.3f} to {max(losses):.3f}), "
                f"{statistics.mean(run['seconds'] for run in runs):.0f} s, {max(run['memory'] for run in runs):.0f} MB"
            )
        print(f"| {size} | " + " | ".join(cells) + " |")
    most = str(max(sizes))
    for name in methods:
        whole = before - statistics.mean(kept[f"{name} {most} {seed}"]["loss"] for seed in seeds)
        shares = [
            f"{(before - statistics.mean(kept[f'{name} {size} {seed}']['loss'] for seed in seeds)) / whole:.0%}"
            for size in sizes
        ]
        print(f"{name}: of the gain with {most} dialogues, {' / '.join(shares)} with {' / '.join(map(str, sizes))}")


if __name__ == "__main__":
    main()
