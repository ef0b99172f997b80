"""Trains the arms of the adversarial experiment: run.py DATA OUT [--base MODEL] [--minutes 20] [--seeds 0 1 2]

DATA is the folder that prepare.py wrote. For every seed an SFT model is trained from the base model until its
validation loss stops falling, or all seeds start from the model of `--sft`; every arm of arms.yaml continues from it
for the same time. OUT receives a model folder `ARM-SEED` for each; complete ones are not trained again, and an
interrupted one continues. `measure.py` compares them.

The number of steps of an arm follows from the time of a few steps and of its warm-up, measured before. Minutes are
those of a processor, so other programs on the machine do not change how long an arm trains. Validations are not
counted: every arm has at most `MAX_VALIDATIONS`, and nearly always this number.
"""

import argparse
import json
import math
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.errors import InvalidParameter, TurnwiseError
from turnwise.training.hooks import StepReport, TrainerHook
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import Recipe, parse_recipe

ARMS = Path(__file__).with_name("arms.yaml")
SFT = "sft"
PROBE_STEPS = 4
MAX_VALIDATIONS = 6
MIN_STEPS = 30  # of an arm
TRAINING = {
    "full": {"learning_rate": 2e-5, "batch_size": 16},
    "lora": {"learning_rate": 5e-5, "batch_size": 16},
}  # of the arms with sampled replies
SFT_RATES = {"full": 5e-4, "lora": 5e-4}


class Clock(TrainerHook):
    """Processor seconds of the warm-up and of the steps, without validations."""

    def __init__(self) -> None:
        self.warm_up, self.steps = 0.0, list[float]()
        self._last = time.process_time()

    def on_preflight(self, recipe: Recipe, report: Any) -> None:  # noqa: ARG002
        """The warm-up begins after the preparation."""
        self._last = time.process_time()

    def on_warm_up(self, what: str, count: int, total: int) -> None:  # noqa: ARG002
        """Extend the warm-up to now."""
        self.warm_up = time.process_time() - self._last

    def on_step_end(self, report: StepReport) -> None:
        """Record a step; the first one follows a validation."""
        now = time.process_time()
        if report.step > 1:
            self.steps.append(now - self._last)
        self._last = now
        print(f"  step {report.step}: {report.seconds:.1f} s {_rounded(report.extra_metrics)}", flush=True)

    def on_evaluate(self, report: Any) -> None:  # noqa: ARG002
        """A step begins after a validation."""
        self._last = time.process_time()


def _rounded(metrics: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in metrics.items())


class Experiment:
    """Recipes and folders of the experiment."""

    def __init__(self, data: Path, out: Path, base: str, method: str, minutes: float, max_seq_len: int) -> None:
        """Use the files of `prepare.py` and a base model."""
        self.out, self._data, self._base = out, data, base
        self._method, self._seconds, self._max_seq_len = method, 60 * minutes, max_seq_len

    def recipe(self, name: str, source: str, objective: Any, seed: int, **training: Any) -> Recipe:
        """The recipe of a run."""
        method: Any = {"name": "lora", "rank": 8} if self._method == "lora" else self._method
        values = {
            "objective": objective,
            "method": method,
            "model": {"from": source},
            "data": {
                "train": str(self._data / "generator_train.jsonl"), "valid": str(self._data / "generator_valid.jsonl"),
            },
            "training": {
                "seed": seed, "max_seq_len": self._max_seq_len, "dtype": "float32", "save_dtype": "float32", **training
            },
            "out": str(self.out / name),
        }  # fmt: skip
        return parse_recipe(values, origin=name)

    def train_sft(self, seed: int, epochs: float) -> Path:
        """The model that all arms of a seed start from."""
        folder = self.out / f"{SFT}-{seed}"
        if not folder.is_dir():
            run_recipe(
                self.recipe(folder.name, self._base, SFT, seed, epochs=epochs, batch_size=16,
                            learning_rate=SFT_RATES[self._method]),
                hooks=[Clock()],
            )  # fmt: skip
        return folder

    def train_arm(self, name: str, arm: Mapping[str, Any], seed: int, source: Path) -> None:
        """Train an arm for the time of the experiment."""
        folder = self.out / f"{name}-{seed}"
        if folder.is_dir():
            return
        settings = {**TRAINING[self._method], **arm.get("training", {})}
        probe_file = self.out / f"{folder.name}.probe.json"
        if not probe_file.is_file():
            probe = self._probe(name, arm, seed, source, settings)
            probe_file.write_text(json.dumps({"warm_up": probe.warm_up, "step": statistics.median(probe.steps)}))
        measured = json.loads(probe_file.read_text())
        steps = self.num_steps(folder.name, measured["warm_up"], measured["step"])
        recipe = self.recipe(
            folder.name, str(source), arm["objective"], seed, max_steps=steps, eval_steps=validation_interval(steps),
            early_stopping_patience=0, **settings,
        )  # fmt: skip
        print(f"{folder.name}: {steps} steps", flush=True)
        result = run_recipe(recipe, hooks=[Clock()])
        print(f"{folder.name}: {result.seconds / 60:.1f} minutes; {result.stop_reason or 'all steps'}", flush=True)

    def num_steps(self, name: str, warm_up: float, step: float) -> int:
        """Steps of an arm after its warm-up; both times in seconds. Raises `InvalidParameter` if they are too few."""
        steps = round((self._seconds - warm_up) / step)
        if steps < MIN_STEPS:
            needed = math.ceil((warm_up + MIN_STEPS * step) / 60)
            raise InvalidParameter(
                "minutes",
                f"{name}: the warm-up takes {warm_up / 60:.1f} minutes and a step {step:.1f} seconds, so that "
                f"{self._seconds / 60:g} minutes leave fewer than {MIN_STEPS} steps. Pass --minutes {needed} or more.",
            )
        return steps

    def _probe(self, name: str, arm: Mapping[str, Any], seed: int, source: Path, settings: Mapping[str, Any]) -> Clock:
        clock, folder = Clock(), f"probe-{name}-{seed}"
        recipe = self.recipe(
            folder, str(source), arm["objective"], seed, max_steps=PROBE_STEPS, eval_steps=PROBE_STEPS, **settings
        )
        run_recipe(recipe, hooks=[clock], restart=True, overwrite=True)
        shutil.rmtree(self.out / folder)
        return clock


def validation_interval(steps: int) -> int:
    """Steps between two validations, of which there are at most `MAX_VALIDATIONS`; the last one is after all steps."""
    return -(-steps // MAX_VALIDATIONS)


def read_arms() -> dict[str, Any]:
    """The arms of `arms.yaml` by name."""
    arms: dict[str, Any] = yaml.safe_load(ARMS.read_text(encoding="utf-8"))
    return arms


def main(options: argparse.Namespace) -> None:
    """Train everything that is missing."""
    options.out.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(
        options.data.resolve(), options.out.resolve(), str(resolve_model_folder(options.base)), options.method,
        options.minutes, options.max_seq_len,
    )  # fmt: skip
    arms = read_arms()
    for seed in options.seeds:
        source = (options.sft and options.sft.resolve()) or experiment.train_sft(seed, options.sft_epochs)
        for name in options.arms or arms:
            experiment.train_arm(name, arms[name], seed, source)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--method", choices=sorted(TRAINING), default="full")
    parser.add_argument("--minutes", type=float, default=20.0, help="processor minutes of an arm")
    parser.add_argument("--sft", type=Path, help="SFT model of all seeds; default: one is trained for every seed")
    parser.add_argument("--sft-epochs", type=float, default=3.0)
    parser.add_argument("--max-seq-len", type=int, default=384)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(read_arms()), metavar="ARM", help="default: all of arms.yaml")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except TurnwiseError as error:
        raise SystemExit(f"Error: {error}") from error
