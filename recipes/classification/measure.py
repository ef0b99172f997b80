"""Measures a classifier of texts on labelled files: measure.py MODEL NAME=FILE ... [--card CARD --out README.md]

Prints a row for each file: of the texts with a label the shares that get the right label (the accuracy), a wrong one
and none, and the macro F1; of the texts of no label the share that gets none. Intervals are those of Wilson.
`--rename negative=bearish` maps the labels of the files to those of the classifier; texts with the label
`--none-label`, and all texts of a `.txt` file, belong to none. `--card` writes a card: @measured@ in it becomes the
table.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from turnwise.app.classifiers import open_classifier
from turnwise.app.text_classifier import TextClassifier
from turnwise.cli.classify import read_text_file
from turnwise.core.errors import InvalidData
from turnwise.core.files import atomic_write
from turnwise.data.annotations.annotated import LabeledText
from turnwise.data.annotations.source import AnnotationSource
from turnwise.evaluation.statistics import wilson_interval

HEADER = (
    "| texts | number | accuracy (95 %) | macro F1 | wrong (95 %) | refused (95 %) | recall of none (95 %) |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


def main(options: argparse.Namespace) -> None:
    """Print the table, and write the card."""
    classifier = open_classifier(options.model, threads=options.threads)
    rename = dict(pair.split("=", 1) for pair in options.rename)
    rows = list(HEADER)
    for pair in options.files:
        name, _, path = pair.partition("=")
        texts, labels = read_texts(Path(path), rename, options.none_label)
        rows.append(table_row(name, classifier, texts, labels))
    table = "\n".join(rows)
    print(table)
    if options.card is not None:
        card = options.card.read_text(encoding="utf-8")
        atomic_write(options.out, card.replace("@measured@", table))


def read_texts(path: Path, rename: Mapping[str, str], none_label: str | None) -> tuple[list[str], list[str | None]]:
    """Texts and their labels; None for texts of no label."""
    if path.suffix == ".txt":
        texts = list(read_text_file(path))
        return texts, [None] * len(texts)
    items = [item for item in AnnotationSource(path).read() if isinstance(item, LabeledText)]
    labels = [None if item.labels == (none_label,) else rename.get(item.labels[0], item.labels[0]) for item in items]
    return [item.text for item in items], labels


def table_row(name: str, classifier: TextClassifier, texts: Sequence[str], labels: Sequence[str | None]) -> str:
    """A row of the table. Raises `InvalidData` for a label that the classifier does not know."""
    if unknown := {label for label in labels if label is not None} - set(classifier.config.labels):
        raise InvalidData(f"{name}: the classifier has no label '{min(unknown)}'; map it with --rename.")
    predictions = [next(iter(result.labels), None) for result in classifier.classify(texts)]
    pairs = [*zip(labels, predictions, strict=True)]
    in_scope = [pair for pair in pairs if pair[0] is not None]
    outside = [predicted is None for label, predicted in pairs if label is None]
    cells = [name, f"{len(texts):,}", "–", "–", "–", "–", share(outside) if outside else "–"]
    if in_scope:
        right = share([label == predicted for label, predicted in in_scope])
        wrong = share([predicted not in (None, label) for label, predicted in in_scope])
        refused = share([predicted is None for _, predicted in in_scope])
        cells[2:6] = [right, f"{macro_f1(in_scope):.1%}", wrong, refused]
    return f"| {' | '.join(cells)} |"


def share(flags: Sequence[bool]) -> str:
    """The share that is true, with its Wilson interval."""
    flags_N = np.array(flags, dtype=np.float64)
    interval = wilson_interval(flags_N)
    return f"{flags_N.mean():.1%} ({interval.low:.1%} to {interval.high:.1%})"


def macro_f1(pairs: Sequence[tuple[str | None, str | None]]) -> float:
    """The mean F1 of the true labels; a refused text is predicted as none of them."""
    scores = []
    for name in sorted({label for label, _ in pairs if label is not None}):
        right = sum(label == predicted == name for label, predicted in pairs)
        total = sum((label == name) + (predicted == name) for label, predicted in pairs)
        scores.append(2 * right / total)
    return sum(scores) / len(scores)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("files", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--rename", nargs="+", default=(), metavar="LABEL=NAME")
    parser.add_argument("--none-label", metavar="LABEL")
    parser.add_argument("--card", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int)
    main(parser.parse_args())
