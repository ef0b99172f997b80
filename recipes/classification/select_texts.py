"""Selects labelled texts: select_texts.py FILE OUT.jsonl [--without LABEL] [--per-label N --rest REST.jsonl]

FILE has texts with one label each (CSV, JSON lines, Parquet). OUT receives all of them, or N of every label; REST up to
2,000 of the others. The selection is seeded.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from turnwise.core.files import atomic_write
from turnwise.data.annotations.annotated import LabeledText
from turnwise.data.annotations.source import AnnotationSource

MAX_REST = 2000


def main(options: argparse.Namespace) -> None:
    """Write the files."""
    texts = [text for text in AnnotationSource(options.file).read() if isinstance(text, LabeledText)]
    texts = [text for text in texts if text.labels != (options.without,)]
    random.Random(options.seed).shuffle(texts)
    selected, rest = [], []
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        counts[text.labels] += 1
        is_selected = options.per_label is None or counts[text.labels] <= options.per_label
        (selected if is_selected else rest).append(text)
    write(options.out, selected)
    if options.rest:
        write(options.rest, rest[:MAX_REST])


def write(path: Path, texts: Sequence[LabeledText]) -> None:
    """Write texts as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"text": text.text, "label": text.labels[0]}, ensure_ascii=False) for text in texts]
    atomic_write(path, "\n".join(rows) + "\n")
    print(f"{path}: {len(rows):,} texts")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--without", metavar="LABEL")
    parser.add_argument("--per-label", type=int, metavar="N")
    parser.add_argument("--rest", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
