"""Turnwise's training as a side of training.py: turnwise_training_side.py FOLDER DATA THREADS RANK"""

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

WARM = 2  # steps before the clock starts


class Clock(TrainerHook):
    """Counts the tokens that are no padding, and the time, from the third step on."""

    def __init__(self) -> None:
        self.tokens, self.began, self.ended = 0, 0.0, 0.0

    def on_step_end(self, report: StepReport) -> None:
        """Count."""
        self.ended = time.perf_counter()
        if report.step <= WARM:
            self.began = self.ended
        else:
            self.tokens += report.useful_tokens


def main(folder: str, data: str, threads: int, rank: int) -> None:
    """Train for as many steps as the input says, and answer with the figures as JSON."""
    torch.set_num_threads(threads)
    for line in sys.stdin:
        steps, rows, length = map(int, line.split())
        with tempfile.TemporaryDirectory() as place:
            recipe = parse_recipe(
                {
                    "objective": "sft" if rank else "clm",  # the same tokens count as in the others
                    "method": {"name": "lora", "rank": rank} if rank else "full",
                    "model": {"from": folder},
                    "data": {"train": data, "valid_fraction": 0},
                    "training": {
                        "max_seq_len": length, "batch_size": rows, "micro_batch_size": rows, "max_steps": steps + WARM,
                        "learning_rate": 1e-4, "dtype": "float32", "save_steps": 10_000,
                    },
                    "out": str(Path(place) / "out"),
                },
                origin="benchmark",
            )  # fmt: skip
            base, clock = load_prepared_base(recipe), Clock()
            work = Path(place) / "work"
            work.mkdir()
            data_splits = load_datasets(recipe, base.renderer, base.model)
            Trainer(make_plan(recipe, base, data_splits, work=work), [clock]).run()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"tokens": clock.tokens / (clock.ended - clock.began), "memory": memory}), flush=True)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
