"""Training with Turnwise as a side of training.py: turnwise_training_side.py FOLDER DATA THREADS RANK"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.hooks import StepReport, TrainerHook
from turnwise.training.launch.prepare import load_prepared_base
from turnwise.training.plan import make_plan
from turnwise.training.recipe import parse_recipe
from turnwise.training.trainer import Trainer

WARMUP_STEPS = 2  # not measured


class Clock(TrainerHook):
    """Measures time and tokens without padding after the warm-up steps."""

    def __init__(self) -> None:
        self.tokens, self.start, self.end = 0, 0.0, 0.0

    def on_step_end(self, report: StepReport) -> None:
        """Record time and tokens of a step."""
        self.end = time.perf_counter()
        if report.step <= WARMUP_STEPS:
            self.start = self.end
        else:
            self.tokens += report.useful_tokens


def main(folder: str, data: str, threads: int, rank: int) -> None:
    """For every line of standard input, `STEPS BATCH_SIZE MAX_SEQ_LEN`, train and print the measurements as JSON."""
    torch.set_num_threads(threads)
    for line in sys.stdin:
        steps, batch_size, max_seq_len = map(int, line.split())
        with tempfile.TemporaryDirectory() as temporary:
            recipe = parse_recipe(
                {
                    "objective": "sft" if rank else "clm",  # the same targets as on the other sides
                    "method": {"name": "lora", "rank": rank} if rank else "full",
                    "model": {"from": folder},
                    "data": {"train": data, "valid_fraction": 0},
                    "training": {
                        "max_seq_len": max_seq_len, "batch_size": batch_size, "micro_batch_size": batch_size,
                        "max_steps": steps + WARMUP_STEPS,
                        "learning_rate": 1e-4, "dtype": "float32", "save_steps": 10_000,
                    },
                    "out": str(Path(temporary) / "out"),
                },
                origin="benchmark",
            )  # fmt: skip
            base, clock = load_prepared_base(recipe), Clock()
            work = Path(temporary) / "work"
            work.mkdir()
            datasets = load_datasets(recipe, base.renderer, base.model)
            Trainer(make_plan(recipe, base, datasets, work=work), [clock]).run()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"tokens": clock.tokens / (clock.end - clock.start), "memory": memory}), flush=True)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
