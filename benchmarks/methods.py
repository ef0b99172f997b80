"""Training methods by number of dialogues: held-out loss, time and memory.

    python benchmarks/methods.py DATA --out methods.json          DATA/train.jsonl.gz and DATA/test.jsonl.gz
    python benchmarks/methods.py DATA --methods lora full --sizes 100 --seeds 0 --rates lora=0.001,0.003

Each run is its own process on one core. It uses a random sample of the training dialogues, drawn with the seed; a fifth
of them are validation data for early stopping. All runs have the same test dialogues. The loss is per token of the
assistant's replies. Memory is the peak resident memory of the process, including libraries.
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
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

METHODS: dict[str, dict[str, Any]] = {
    "prompt": {"method": {"name": "prompt", "shots": 4, "num_candidates": 8}},
    "freeze": {"method": {"name": "freeze", "last_layers": 2}, "learning_rate": 0.001},
    "lora": {"method": {"name": "lora", "rank": 16}, "learning_rate": 0.002},
    "full": {"method": "full", "learning_rate": 0.0003},
}
MIN_STEPS = 60  # small samples are repeated more often
EPOCHS = 10
DIALOGUES_PER_STEP = 24  # 4 rows of 512 tokens, each with about six of these dialogues

Results = dict[str, Any]
"""Measurements by `result_key`, and "base": the loss of the base model."""


def write_recipe(
    name: str, size: int, seed: int, learning_rate: float | None, data: Path, base: str, out: Path
) -> dict[str, Any]:
    """Write a random sample of `size` dialogues next to `out`; return the recipe that trains on it."""
    rng = random.Random(seed)
    with gzip.open(data / "train.jsonl.gz", "rt") as file:
        dialogues = [line for line in file if json.loads(line)["messages"][-1]["role"] == "assistant"]
    sample = rng.sample(dialogues, size)
    num_valid = max(4, size // 5)
    for split, lines in {"valid": sample[:num_valid], "train": sample[num_valid:]}.items():
        (out.parent / f"{split}.jsonl").write_text("".join(lines))
    defaults = METHODS[name]
    training: dict[str, Any] = {
        "max_seq_len": 512,
        "batch_size": 4,
        "micro_batch_size": 4,
        "seed": seed,
        "dtype": "float32",
    }
    if "learning_rate" in defaults:
        steps = max(MIN_STEPS, round(EPOCHS * size / DIALOGUES_PER_STEP))
        training |= {
            "learning_rate": learning_rate or defaults["learning_rate"],
            "max_steps": steps,
            "eval_steps": max(4, steps // 12),
        }
    return {
        "objective": "sft",
        "method": defaults["method"],
        "model": {"from": base},
        "data": {"train": str(out.parent / "train.jsonl"), "valid": str(out.parent / "valid.jsonl")},
        "training": training,
        "out": str(out),
    }


def train_and_measure(values: dict[str, Any], test: Path, queue: "Queue[dict[str, float]]") -> None:
    """Train with a recipe and put the measurements of the saved model into the queue. Runs in its own process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    from turnwise.training.launch.run_recipe import run_recipe
    from turnwise.training.recipe import parse_recipe

    recipe = parse_recipe(values, origin="benchmark")
    start = time.perf_counter()
    result = run_recipe(recipe)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    loss = test_loss(recipe.out, test)
    queue.put({"loss": loss, "valid": result.valid_after, "seconds": seconds, "memory": memory})


def test_loss(model: str | Path, test: Path) -> float:
    """Cross-entropy of a model on the test dialogues, in nats per token of the replies."""
    import torch

    from torch_reference.perplexity import measure_perplexity
    from turnwise.core.messages import Conversation
    from turnwise.data.sources import read_source
    from turnwise.models import checkpoint
    from turnwise.text.rendering.renderer import Renderer
    from turnwise.text.tokenization.tokenizer import Tokenizer

    folder = Path(model)
    dialogues = [item for item in read_source(test) if isinstance(item, Conversation)]
    decoder = checkpoint.load(folder, dtype=torch.float32).decoder
    perplexity = measure_perplexity(decoder, Renderer.from_tokenizer(Tokenizer.load(folder)), dialogues)
    return perplexity.nats / perplexity.tokens


def result_key(name: str, size: int, seed: int, learning_rate: float | None = None) -> str:
    """Key of a run in the results."""
    return f"{name} {size} {seed}" + (f" {learning_rate:g}" if learning_rate else "")


def main() -> None:
    """Make the runs that have no results yet, save the results and print a table."""
    from turnwise.app.model_names import resolve_model_folder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with train.jsonl.gz and test.jsonl.gz")
    parser.add_argument("--base", help="a model folder; default: the default model")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[30, 100, 300, 1000], help="numbers of dialogues")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rates", nargs="*", default=[], help="METHOD=RATE,RATE: use other learning rates")
    parser.add_argument("--out", type=Path, help="write the results as JSON; runs with results in it are skipped")
    args = parser.parse_args()
    base, test = str(resolve_model_folder(args.base)), args.data / "test.jsonl.gz"
    learning_rates = {
        name: [float(rate) for rate in rates.split(",")] for name, rates in (option.split("=") for option in args.rates)
    }
    results: Results = json.loads(args.out.read_text()) if args.out and args.out.is_file() else {}
    if "base" not in results:
        results["base"] = test_loss(base, test)
    context = multiprocessing.get_context("spawn")
    for size in args.sizes:
        for name in args.methods:
            for learning_rate in learning_rates.get(name, [None]):
                for seed in args.seeds:
                    key = result_key(name, size, seed, learning_rate)
                    if key in results:
                        continue
                    with tempfile.TemporaryDirectory() as temporary:
                        queue = context.Queue()
                        out = Path(temporary) / "model"
                        recipe = write_recipe(name, size, seed, learning_rate, args.data, base, out)
                        process = context.Process(target=train_and_measure, args=(recipe, test, queue))
                        process.start()
                        process.join()
                        results[key] = queue.get(timeout=5)
                    print(key, {name: round(value, 3) for name, value in results[key].items()}, flush=True)
                    if args.out:
                        args.out.write_text(json.dumps(results, indent=1))
    if not learning_rates:
        print_table(results, args.methods, args.sizes, args.seeds)


def print_table(results: Results, methods: list[str], sizes: list[int], seeds: list[int]) -> None:
    """Print mean, minimum and maximum over seeds, and the share of the improvement that smaller sizes reach."""
    base_loss = results["base"]
    print(f"\nloss per token of the base: {base_loss:.3f}")
    print("| dialogues | " + " | ".join(methods) + " |")
    print("| --- |" + " --- |" * len(methods))
    improvements: dict[tuple[str, int], float] = {}
    for size in sizes:
        cells = []
        for name in methods:
            runs = [results[result_key(name, size, seed)] for seed in seeds]
            losses = [run["loss"] for run in runs]
            improvements[name, size] = base_loss - statistics.mean(losses)
            cells.append(
                f"{statistics.mean(losses):.3f} ({min(losses):.3f} to {max(losses):.3f}), "
                f"{statistics.mean(run['seconds'] for run in runs):.0f} s, {max(run['memory'] for run in runs):.0f} MB"
            )
        print(f"| {size} | " + " | ".join(cells) + " |")
    for name in methods:
        shares = [f"{improvements[name, size] / improvements[name, max(sizes)]:.0%}" for size in sizes]
        print(f"{name}: of the improvement with {max(sizes)} dialogues, {' / '.join(shares)} "
              f"with {' / '.join(map(str, sizes))}")  # fmt: skip


if __name__ == "__main__":
    main()
