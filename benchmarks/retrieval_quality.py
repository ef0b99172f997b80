"""Measures search by words, by meaning and by both on questions with known passages (docs/guide/knowledge.md).

    python benchmarks/retrieval_quality.py BOOKS --chinese TEXTS --work WORK [--encoders e5-small minilm]

BOOKS and TEXTS have a `train.jsonl.gz` with a `text` and a `source` per line: English text books, and Chinese
encyclopedia paragraphs. The documents of `COLLECTIONS` are indexed as `turnwise index` indexes text files; WORK keeps
the knowledge bases, so that vectors are computed once. `retrieval_questions.jsonl` has the questions: a document, the
start of its SHA-256, and a short quotation of the passages that answer. `--every N` indexes the documents that have
questions and every N-th of the others.

Each question is of the split "tune" or "test". The weight of the fusion is tuned on the first and measured on the
second. Intervals are 95 % bootstrap intervals over questions; differences are paired.

Shapes: Q questions.
"""

import argparse
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.app.knowledge.open_base import open_knowledge_base
from turnwise.app.knowledge.questions import Question, judge, mean_with_interval
from turnwise.evaluation.statistics import ConfidenceInterval
from turnwise.retrieval.fusion_tuning import MODES, JudgedQuery, SearchQuality, measure, tune
from turnwise.retrieval.hybrid_index import NUM_CANDIDATES, SearchMode

QUESTIONS = Path(__file__).with_name("retrieval_questions.jsonl")
COLLECTIONS: Mapping[str, Sequence[str]] = {
    "en": ("psychology", "introduction-sociology", "introduction-intellectual-property"),
    "zh": ("zhwiki",),
}
SPLITS = ("tune", "test")


def read_documents(folder: Path, collection: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names ("psychology/0012.txt", numbered in the order of the file) and texts of documents."""
    numbers: Counter[str] = Counter()
    with gzip.open(folder / "train.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            name = re.sub(r"\(.*\)", "", row["source"]).rsplit("/", 1)[-1]
            if name in collection:
                numbers[name] += 1
                yield f"{name}/{numbers[name]:04d}.txt", row["text"]


def add_documents(base: KnowledgeBase, documents: Iterator[tuple[str, str]], texts: Path, every: int) -> None:
    """Write the documents with questions and every n-th of the others as text files, and index them."""
    required = {json.loads(line)["source"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()}
    for number, (source, text) in enumerate(documents):
        if number % every and source not in required:
            continue
        path = texts / source
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(text, encoding="utf-8")
        base.add_file(path, source=source)
    base.update_lexical(seconds=600)
    base.embed()


def read_judged(base: KnowledgeBase, language: str) -> dict[str, list[JudgedQuery]]:
    """The questions of a language by split, with the passages that answer them."""
    splits: dict[str, list[JudgedQuery]] = {split: [] for split in SPLITS}
    for number, line in enumerate(QUESTIONS.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        if row["language"] != language:
            continue
        document = base.store.find_document(row["source"], "")
        if document is None or not document.sha256.startswith(row["sha256"]):
            raise SystemExit(f"{QUESTIONS.name}, line {number}: {row['source']} has another text.")
        question = Question(question=row["question"], source=row["source"], answer=row["answer"])
        query = judge(base, question, "")
        if not query.relevant:
            raise SystemExit(f"{QUESTIONS.name}, line {number}: no passage has the quotation.")
        splits[row["split"]].append(query)
    return splits


def evaluate(base: KnowledgeBase, language: str, encoder: str, misses: Path | None) -> None:
    """Tune on one split, and print quality and differences on the other one."""
    counts = base.store.scope_counts("")
    assert counts is not None
    splits = read_judged(base, language)
    weight = tune(base.index, counts, splits["tune"]).weight
    queries = splits["test"]
    qualities: dict[SearchMode, SearchQuality] = {}
    for mode in MODES:
        candidates = [base.index.candidates(q.query, NUM_CANDIDATES, counts, {}, mode) for q in queries]
        qualities[mode] = measure(candidates, queries, {"lexical": 0.0, "dense": 1.0}.get(mode, weight))
        if misses is not None:
            write_misses(misses / f"{language}-{encoder}-{mode}.txt", base, queries, qualities[mode], mode)
    print(
        f"\n{language}, {encoder}: {counts.num_passages:,} passages, {len(queries)} test questions, weight {weight:g}"
        f" tuned on {len(splits['tune'])}\n\n| search | recall@5 | nDCG@10 |\n| --- | --- | --- |"
    )
    rows: list[tuple[str, SearchQuality]] = list(qualities.items())
    for mode in ("lexical", "dense"):
        both, one = qualities["hybrid"], qualities[mode]
        rows.append((f"hybrid - {mode}", SearchQuality(both.recall_Q - one.recall_Q, both.ndcg_Q - one.ndcg_Q)))
    for name, quality in rows:
        print(f"| {name} | {format_mean(quality.recall_Q)} | {format_mean(quality.ndcg_Q)} |")


def format_mean(values_Q: NDArray[np.float64]) -> str:
    """A mean with its interval."""
    value = mean_with_interval(values_Q)
    interval = value.interval or ConfidenceInterval(float("nan"), float("nan"))
    return f"{value.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def write_misses(
    path: Path, base: KnowledgeBase, queries: Sequence[JudgedQuery], quality: SearchQuality, mode: SearchMode
) -> None:
    """Write the questions whose passage is not among the first five, with the passages that are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for query, recall in zip(queries, quality.recall_Q, strict=True):
            if recall < 1:
                outcome = base.index.search_scope(query.query, 5, mode=mode)
                file.write(f"\n## {query.query} {sorted(query.relevant)}\n")
                file.writelines(f"{item.score:.3f} {item.passage.text[:300]!r}\n" for item in outcome.passages)


def main() -> None:
    """Index and measure both languages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("books", type=Path)
    parser.add_argument("--chinese", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--encoders", nargs="+", default=["e5-small", "minilm"])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="default: all documents")
    parser.add_argument("--threads", type=int, help="threads of the encoder; default: one per core")
    parser.add_argument("--misses", type=Path, help="folder for the questions that are not answered")
    parser.add_argument("--index-only", action="store_true")
    options = parser.parse_args()
    folders = {"en": options.books} | ({"zh": options.chinese} if options.chinese else {})
    for encoder in options.encoders:
        for language, folder in folders.items():
            with open_knowledge_base(
                f"{options.work.absolute() / language}", encoder, create=True, threads=options.threads
            ) as base:
                add_documents(
                    base, read_documents(folder, COLLECTIONS[language]), options.work / "texts", options.every
                )
                if not options.index_only:
                    evaluate(base, language, encoder, options.misses)


if __name__ == "__main__":
    main()
