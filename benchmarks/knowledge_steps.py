"""Steps of the speed of a knowledge base: each builds or searches one index, in a process of its own (`knowledge.py`).

Shapes: Q queries, K results.
"""

import os
import random
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge_filters import measure_filters
from knowledge_texts import read_texts, vary_texts
from knowledge_vectors import NUM_QUERIES, VariedVectors
from turnwise.app.knowledge.knowledge_base import DENSE, FINGERPRINT_CHARS, KnowledgeBase
from turnwise.core.knowledge import NewDocument, NewPassage
from turnwise.retrieval.dense_format import FORMAT_VERSION
from turnwise.retrieval.dense_index import DenseIndex
from turnwise.retrieval.dense_writer import DenseWriter
from turnwise.retrieval.index_cursor import IndexCursor
from turnwise.store import open_knowledge_store

PASSAGES_PER_DOCUMENT = 5000
MAX_TEXTS = 200_000
COMMON = ["the of and to in a is that it was", "what is the of a", "how do I get to the", "的 是 了 在"]

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StepInput:
    """Folder and vectors of a size, and the folder of the texts."""

    folder: Path
    vectors: VariedVectors
    texts: Path


def open_base(run: StepInput) -> KnowledgeBase:
    """The knowledge base of a size."""
    return KnowledgeBase(run.folder, open_knowledge_store(f"sqlite:///{run.folder / 'knowledge.db'}"), run.vectors)


def dense_folder(run: StepInput) -> Path:
    """`KnowledgeBase.dense_folder`, without an open store."""
    return run.folder / DENSE / run.vectors.fingerprint[:FINGERPRINT_CHARS]


def build_lexical(run: StepInput) -> Figures:
    """Add the texts to a store, and index their words."""
    base = open_base(run)
    passages = (
        NewPassage(text, 0, len(text)) for text in vary_texts(read_texts(run.texts, MAX_TEXTS), run.vectors.count)
    )
    start = clock()
    for number, first in enumerate(range(0, run.vectors.count, PASSAGES_PER_DOCUMENT)):
        size = min(PASSAGES_PER_DOCUMENT, run.vectors.count - first)
        base.store.add(NewDocument(f"{number}", f"{number:064d}"), (next(passages) for _ in range(size)))
    figures = {"store_seconds": since(start)}
    start = clock()
    base.update_lexical(seconds=3600)
    figures |= {"lexical_seconds": since(start), "lexical_bytes": folder_bytes(run.folder / "lexical")}
    base.close()
    return figures | {"store_bytes": (run.folder / "knowledge.db").stat().st_size}


def build_dense(run: StepInput) -> Figures:
    """Write the dense index. Drawing the vectors is not counted."""
    wall, cpu = 0.0, 0.0
    store = open_knowledge_store(f"sqlite:///{run.folder / 'knowledge.db'}")
    position = store.position()
    store.close()
    writer = DenseWriter(dense_folder(run), run.vectors.fingerprint, run.vectors.dimension)
    for first, vectors_ND in run.vectors.chunks():
        ids_N = np.arange(first + 1, first + len(vectors_ND) + 1)
        cursor = IndexCursor(position.base, int(ids_N[-1]), position.last_deletion, FORMAT_VERSION)
        start = clock()
        writer.append(ids_N, np.ones(len(ids_N), np.uint32), vectors_ND, cursor)
        seconds = since(start)
        wall, cpu = wall + seconds[0], cpu + seconds[1]
    return {"dense_seconds": [wall, cpu], "dense_bytes": folder_bytes(run.folder / "dense")}


def search_lexical(run: StepInput) -> Figures:
    """Search words of passages, and common words."""
    base = open_base(run)
    counts = base.store.scope_counts("")
    assert counts is not None
    start = clock()
    assert base.is_searchable()
    figures: Figures = {"open_seconds": since(start)}
    queries = draw_queries(base, run.vectors.count)
    figures["times"] = latency(lambda i: base.lexical.search(queries[i], 10, counts, {}), len(queries))
    figures["common"] = latency(lambda i: base.lexical.search(COMMON[i % len(COMMON)], 10, counts, {}), 100)
    base.close()
    return figures | memory()


def search_dense(run: StepInput) -> Figures:
    """Search vectors; recall against the exact search of all float32 run.vectors."""
    exact_QK = run.vectors.exact(10)
    dense = DenseIndex(dense_folder(run), run.vectors.fingerprint)
    results: dict[int, set[int]] = {}

    def search(number: int) -> None:
        results[number] = set(dense.search(run.vectors.queries_QD[number], 10, 1).ids_K.tolist())

    before = memory()
    start = clock()
    dense.rows()
    figures: Figures = {"open_seconds": since(start), "times": latency(search, NUM_QUERIES)}
    figures["recall"] = recall(results, exact_QK)
    after = memory()
    return figures | {name: after[name] - before[name] for name in after}


def search_hybrid(run: StepInput) -> Figures:
    """Search by words and vectors, with the texts of the results; the encoding of queries is not counted."""
    base = open_base(run)
    queries = draw_queries(base, run.vectors.count)
    assert base.index.search_scope("word 0", 10).mode == "hybrid"
    figures: Figures = {"times": latency(lambda i: base.index.search(f"{queries[i]} {i}", 10), len(queries))}
    base.close()
    return figures | memory()


def search_usearch(run: StepInput) -> Figures:
    """Build and search usearch's HNSW on the same run.vectors."""
    from usearch.index import Index

    exact_QK = run.vectors.exact(10)
    before = memory()["private_bytes"]
    index = Index(ndim=run.vectors.dimension, metric="cos", dtype="i8")
    wall, cpu = 0.0, 0.0
    for first, vectors_ND in run.vectors.chunks():
        start = clock()
        index.add(np.arange(first + 1, first + len(vectors_ND) + 1), vectors_ND, threads=os.cpu_count() or 1)
        seconds = since(start)
        wall, cpu = wall + seconds[0], cpu + seconds[1]
    results: dict[int, set[int]] = {}

    def search(number: int) -> None:
        results[number] = set(index.search(run.vectors.queries_QD[number], 10).keys.tolist())

    figures: Figures = {"dense_seconds": [wall, cpu], "times": latency(search, NUM_QUERIES)}
    used = memory()["private_bytes"] - before
    return figures | {"recall": recall(results, exact_QK), "private_bytes": used}


def search_filtered(run: StepInput) -> Figures:
    """Filters over as many documents as there are vectors, with a search of the run.vectors."""
    return measure_filters(
        run.folder / "filters.db", DenseIndex(dense_folder(run), run.vectors.fingerprint), run.vectors
    )


STEPS: Mapping[str, Callable[[StepInput], Figures]] = {
    "build_dense": build_dense, "dense": search_dense, "usearch": search_usearch, "filters": search_filtered,
    "build_lexical": build_lexical, "lexical": search_lexical, "hybrid": search_hybrid,
}  # fmt: skip


def draw_queries(base: KnowledgeBase, count: int) -> list[str]:
    """Two to eight words of random passages."""
    rng = random.Random(3)
    ids = [1 + number * 37 % count for number in range(NUM_QUERIES)]
    sample = [passage.text.split() for passage in base.store.fetch(ids, "", {})]
    return [" ".join(rng.sample(words, min(len(words), rng.randint(2, 8)))) for words in sample]


def clock() -> tuple[float, float]:
    """Seconds of the wall clock and of the processors, of all threads."""
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> list[float]:
    """Seconds since a `clock`."""
    return [now - before for now, before in zip(clock(), start, strict=True)]


def latency(call: Callable[[int], object], count: int) -> Figures:
    """Milliseconds of the median and of the 95th percentile, by the wall clock and of the processors."""
    for number in range(min(10, count)):
        call(number)
    times: list[list[float]] = []
    for number in range(count):
        start = clock()
        call(number)
        times.append(since(start))
    wall, cpu = 1000 * np.array(times).T
    return {"wall": np.quantile(wall, [0.5, 0.95]).tolist(), "cpu": np.quantile(cpu, [0.5, 0.95]).tolist()}


def recall(results: Mapping[int, set[int]], exact_QK: NDArray[np.int64]) -> float:
    """Share of the nearest vectors that were returned."""
    return float(np.mean([len(results[q] & set(ids.tolist())) / len(ids) for q, ids in enumerate(exact_QK)]))


def folder_bytes(folder: Path) -> int:
    """Size of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def memory() -> dict[str, int]:
    """Bytes in memory: all that are resident, with mapped files, and those of the process alone."""
    names = {"VmRSS": "resident_bytes", "RssAnon": "private_bytes"}
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return dict.fromkeys(names.values(), 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    values = dict(line.split(":", 1) for line in lines)
    return {key: 1024 * int(values[name].split()[0]) for name, key in names.items()}
