"""Measures the index of a knowledge base (docs/guide/knowledge.md).

    python benchmarks/knowledge.py speed WORK --texts FOLDER --sizes 10000 100000   builds and searches; WORK keeps them
    python benchmarks/knowledge.py speed WORK --sizes 1000000 --steps build_dense dense --vectors BASE/dense/HASH
    python benchmarks/knowledge.py table WORK                                       the table again, and the picture
    python benchmarks/knowledge.py quality PAIRS.jsonl.gz --encoder minilm          recall and nDCG with intervals

`speed` takes texts from all `*.jsonl.gz` files (a `text` per line) and `*.txt` files of a folder, and repeats them with
variations until there are enough. Vectors are varied from those of a dense index (`--vectors`), or drawn at random
(`knowledge_vectors.py`). The reference is a search of all float32 vectors; usearch (HNSW, 8-bit) has the same vectors.
Each step runs in a process of its own, and the encoding of queries is not counted. Times are those of the wall clock
and of the processors, which depend less on the load of the machine.

`quality` reads dialogues: the first message of the user is the question, the answer the passage. The weight of the
fusion is tuned on one half of the questions and measured on the other one. `retrieval_quality.py` has harder questions.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from knowledge_pairs import measure_pairs
from knowledge_steps import STEPS, StepInput
from knowledge_table import draw, print_table
from knowledge_vectors import VariedVectors, clustered_vectors, read_vectors

RESULTS, VECTORS = "results.json", "vectors.npy"
NUM_CLUSTERED = 20_000


def speed(work: Path, texts: Path | None, sizes: Sequence[int], steps: Sequence[str], vectors: Path | None) -> None:
    """Run the steps of all sizes, each in its own process. A finished build is kept."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / VECTORS).exists():
        np.save(work / VECTORS, clustered_vectors(NUM_CLUSTERED) if vectors is None else read_vectors(vectors))
    results = read_results(work)
    for size in sizes:
        for step in steps:
            entry = results.setdefault(str(size), {})
            if step in entry and step.startswith("build"):
                continue
            command = [sys.executable, __file__, "step", str(work), step, str(size), "--texts", str(texts)]
            entry[step] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            entry[step]["load"] = round(os.getloadavg()[0], 1)
            (work / RESULTS).write_text(json.dumps(results, indent=1))
    show(work)


def read_results(work: Path) -> dict[str, Any]:
    """What was measured before."""
    path = work / RESULTS
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return results


def show(work: Path) -> None:
    """Print the table and draw the picture."""
    results = {int(size): entry for size, entry in read_results(work).items()}
    print_table(results)
    draw(results)


def run_step(work: Path, step: str, size: int, texts: Path) -> None:
    """Run a step, and print its figures as JSON."""
    folder = work / str(size)
    folder.mkdir(exist_ok=True)
    print(json.dumps(STEPS[step](StepInput(folder, VariedVectors(size, np.load(work / VECTORS)), texts))))


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    parse = commands.add_parser("speed")
    parse.add_argument("work", type=Path)
    parse.add_argument("--texts", type=Path)
    parse.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parse.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    parse.add_argument("--vectors", type=Path, help="folder of a dense index, whose vectors are varied")
    parse = commands.add_parser("table")
    parse.add_argument("work", type=Path)
    parse = commands.add_parser("step")
    parse.add_argument("work", type=Path)
    parse.add_argument("step", choices=list(STEPS))
    parse.add_argument("size", type=int)
    parse.add_argument("--texts", type=Path)
    parse = commands.add_parser("quality")
    parse.add_argument("pairs", type=Path)
    parse.add_argument("--encoder", default="e5-small")
    parse.add_argument("--max-pairs", type=int, default=2000)
    options = parser.parse_args()
    if options.command == "speed":
        if options.texts is None and "build_lexical" in options.steps:
            parser.error("--texts is needed for the step build_lexical.")
        speed(options.work, options.texts, options.sizes, options.steps, options.vectors)
    elif options.command == "table":
        show(options.work)
    elif options.command == "quality":
        measure_pairs(options.pairs, options.encoder, options.max_pairs)
    else:
        run_step(options.work, options.step, options.size, options.texts)


if __name__ == "__main__":
    main()
