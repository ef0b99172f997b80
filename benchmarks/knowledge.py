"""Measures the index of a knowledge base (docs/guide/knowledge.md).

    python benchmarks/knowledge.py speed WORK --texts FOLDER --sizes 10000 100000   builds and searches; WORK keeps them
    python benchmarks/knowledge.py table WORK                                       the table again, and the picture
    python benchmarks/knowledge.py quality PAIRS.jsonl.gz --encoder minilm          recall and nDCG with intervals

`speed` takes texts from all `*.jsonl.gz` files (a `text` per line) and `*.txt` files of a folder, and repeats them with
variations until there are enough. Vectors are random: clusters around centres that lie around a common direction, with
dimensions of falling variance. The reference is a search of all float32 vectors; usearch (HNSW, 8-bit) runs on the same
vectors. Each size is built and searched in a process of its own, and the encoding of queries is not counted.

`quality` reads dialogues: the first message of the user is the question, the answer the passage. The weight of the
fusion is tuned on one half of the questions and measured on the other one.

Shapes: N vectors, D dimensions, Q queries, K clusters.
"""

import argparse
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.app.knowledge.encoder import ModelEncoder
from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.app.knowledge.questions import mean_with_interval
from turnwise.core.knowledge import NewDocument, NewPassage, StorePosition
from turnwise.retrieval.dense_writer import DenseWriter
from turnwise.retrieval.fusion_tuning import MODES, JudgedQuery, measure, tune
from turnwise.retrieval.hybrid_index import NUM_CANDIDATES
from turnwise.retrieval.index_cursor import IndexCursor
from turnwise.store import open_knowledge_store

DIMENSION = 384
CHUNK = 50_000
CLUSTER_SIZE = 200
PASSAGES_PER_DOCUMENT = 5000
NUM_QUERIES = 200
PICTURE = Path(__file__).parents[1] / "docs/pictures/knowledge.png"
RESULTS = "results.json"


class RandomVectors:
    """Vectors that are computed again whenever they are needed, and an encoder that returns those of queries."""

    def __init__(self, count: int) -> None:
        self.fingerprint, self.dimension, self.count = f"random-{count}", DIMENSION, count
        rng = np.random.default_rng(7)
        self._spread_D = (np.arange(1, DIMENSION + 1) ** -0.25).astype(np.float32)
        self._common_D = _normalize(rng.standard_normal((1, DIMENSION)))
        self._centres_KD = self._noise(max(1, count // CLUSTER_SIZE), rng)
        self.queries_QD = self._draw(NUM_QUERIES, np.random.default_rng(1))

    def chunks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Positions and vectors of all chunks."""
        for start in range(0, self.count, CHUNK):
            yield start, self._draw(min(CHUNK, self.count - start), np.random.default_rng(1000 + start))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector of the query that ends with this number."""
        query_D: NDArray[np.float32] = self.queries_QD[int(text.rsplit(" ", 1)[1])]
        return query_D

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Not needed: all passages have vectors."""
        raise NotImplementedError

    def exact(self, k: int) -> NDArray[np.int64]:
        """Passage ids (positions from 1) of the `k` nearest vectors of each query, by float32 scores."""
        scores_QK = np.full((NUM_QUERIES, 0), 0, np.float32)
        ids_QK = np.full((NUM_QUERIES, 0), 0, np.int64)
        for start, vectors_ND in self.chunks():
            ids_N = np.broadcast_to(np.arange(start + 1, start + len(vectors_ND) + 1), (NUM_QUERIES, len(vectors_ND)))
            scores_QK = np.concatenate([scores_QK, self.queries_QD @ vectors_ND.T], axis=1)
            ids_QK = np.concatenate([ids_QK, ids_N], axis=1)
            order_QK = np.argsort(-scores_QK, axis=1, kind="stable")[:, :k]
            scores_QK = np.take_along_axis(scores_QK, order_QK, axis=1)
            ids_QK = np.take_along_axis(ids_QK, order_QK, axis=1)
        return ids_QK

    def _noise(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return _normalize(rng.standard_normal((count, DIMENSION), dtype=np.float32) * self._spread_D)

    def _draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        centres_ND = self._centres_KD[rng.integers(0, len(self._centres_KD), count)]
        return _normalize(self._common_D + centres_ND + 0.8 * self._noise(count, rng))


def _normalize(vectors_ND: NDArray[Any]) -> NDArray[np.float32]:
    unit_ND: NDArray[np.float32] = (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).astype(np.float32)
    return unit_ND


def read_texts(folder: Path, max_texts: int) -> list[str]:
    """Pieces of about 800 characters of all texts of a folder."""
    pieces: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".jsonl.gz"):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                texts = [json.loads(line).get("text", "") for line in file]
        elif path.suffix == ".txt":
            texts = [path.read_text(encoding="utf-8", errors="replace")]
        else:
            continue
        pieces += [text[i : i + 800] for text in texts for i in range(0, len(text), 800)]
        if len(pieces) >= max_texts:
            break
    if not pieces:
        raise SystemExit(f"{folder} has no *.jsonl.gz with a 'text' and no *.txt.")
    random.Random(0).shuffle(pieces)
    return pieces[:max_texts]


def varied(pieces: Sequence[str], count: int) -> Iterator[str]:
    """Texts; a repeated one has some of its words exchanged with those of another one."""
    rng = random.Random(1)
    for number in range(count):
        text = pieces[number % len(pieces)]
        if number >= len(pieces):
            words, others = text.split(), rng.choice(pieces).split() or ["x"]
            for _ in range(len(words) // 5):
                words[rng.randrange(len(words))] = rng.choice(others)
            text = " ".join(words)
        yield text or "empty"


def build(folder: Path, count: int, texts: Path) -> dict[str, Any]:
    """Build store, lexical and dense index of one size."""
    figures: dict[str, Any] = {}
    store = open_knowledge_store(f"sqlite:///{folder / 'knowledge.db'}")
    vectors = RandomVectors(count)
    base = KnowledgeBase(folder, store, vectors)
    passages = (NewPassage(text, 0, len(text)) for text in varied(read_texts(texts, 200_000), count))
    start = time.perf_counter()
    for number, first in enumerate(range(0, count, PASSAGES_PER_DOCUMENT)):
        size = min(PASSAGES_PER_DOCUMENT, count - first)
        batch = (next(passages) for _ in range(size))
        store.add(NewDocument(f"{number}", f"{number:064d}"), batch)
    figures["store_seconds"] = time.perf_counter() - start
    start = time.perf_counter()
    base.update_lexical(seconds=3600)
    figures["lexical_seconds"] = time.perf_counter() - start
    start, paused = time.perf_counter(), 0.0
    writer = DenseWriter(base.dense_folder, vectors.fingerprint, DIMENSION)
    position = store.position()
    drawn = time.perf_counter()
    for first, vectors_ND in vectors.chunks():
        paused += time.perf_counter() - drawn
        ids_N = np.arange(first + 1, first + len(vectors_ND) + 1)
        writer.append(ids_N, np.ones(len(ids_N), np.uint32), vectors_ND, _cursor(position, int(ids_N[-1])))
        drawn = time.perf_counter()
    figures["dense_seconds"] = time.perf_counter() - start - paused
    for name in ("lexical", "dense"):
        figures[f"{name}_bytes"] = sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
    figures["store_bytes"] = (folder / "knowledge.db").stat().st_size
    base.close()
    return figures


def _cursor(position: StorePosition, last_passage: int) -> IndexCursor:
    return IndexCursor(position.base, last_passage, position.last_deletion, 1)


def search(folder: Path, count: int) -> dict[str, Any]:
    """Measure the searches in a built folder."""
    store = open_knowledge_store(f"sqlite:///{folder / 'knowledge.db'}")
    vectors = RandomVectors(count)
    base = KnowledgeBase(folder, store, vectors)
    counts = store.scope_counts("")
    assert counts is not None
    assert base.dense is not None
    dense = base.dense
    rng = random.Random(3)
    ids = [1 + number * 37 % count for number in range(NUM_QUERIES)]
    sample = [passage.text.split() for passage in store.fetch(ids, "", {})]
    queries = [" ".join(rng.sample(words, min(len(words), rng.randint(2, 8)))) for words in sample]
    common = ["the of and to in a is that it was", "what is the of a", "how do I get to the", "的 是 了 在"]
    exact_QK = vectors.exact(10)
    start = time.perf_counter()
    dense.rows(), base.lexical.cursor
    figures: dict[str, Any] = {"open_seconds": time.perf_counter() - start}
    figures["lexical"] = latency(lambda i: base.lexical.search(queries[i], 10, counts, {}), len(queries))
    figures["common"] = latency(lambda i: base.lexical.search(common[i % len(common)], 10, counts, {}), 100)
    results: dict[int, set[int]] = {}

    def search_dense(number: int) -> None:
        results[number] = set(dense.search(vectors.queries_QD[number], 10, 1).ids_K.tolist())

    figures["dense"] = latency(search_dense, NUM_QUERIES)
    figures["recall"] = recall(results, exact_QK)
    figures["hybrid"] = latency(lambda i: base.index.search(f"{queries[i]} {i}", 10), len(queries))
    figures["resident_bytes"] = memory("VmRSS")
    figures["private_bytes"] = memory("RssAnon")
    base.close()
    return figures


def search_usearch(count: int) -> dict[str, Any]:
    """Build and search usearch's HNSW on the same vectors."""
    from usearch.index import Index

    vectors = RandomVectors(count)
    exact_QK = vectors.exact(10)
    before = memory("RssAnon")
    index = Index(ndim=DIMENSION, metric="cos", dtype="i8")
    seconds = 0.0
    for first, vectors_ND in vectors.chunks():
        start = time.perf_counter()
        index.add(np.arange(first + 1, first + len(vectors_ND) + 1), vectors_ND, threads=os.cpu_count() or 1)
        seconds += time.perf_counter() - start
    results: dict[int, set[int]] = {}

    def search_one(number: int) -> None:
        results[number] = set(index.search(vectors.queries_QD[number], 10).keys.tolist())

    figures: dict[str, Any] = {"dense": latency(search_one, NUM_QUERIES), "dense_seconds": seconds}
    return figures | {"recall": recall(results, exact_QK), "private_bytes": memory("RssAnon") - before}


def latency(call: Callable[[int], object], count: int) -> list[float]:
    """Milliseconds of the median and of the 95th percentile, after a warm-up."""
    for number in range(min(10, count)):
        call(number)
    times = []
    for number in range(count):
        start = time.perf_counter()
        call(number)
        times.append(1000 * (time.perf_counter() - start))
    return [float(np.quantile(times, 0.5)), float(np.quantile(times, 0.95))]


def recall(results: dict[int, set[int]], exact_QK: NDArray[np.int64]) -> float:
    """Share of the nearest vectors that were returned."""
    return float(np.mean([len(results[q] & set(ids.tolist())) / len(ids) for q, ids in enumerate(exact_QK)]))


def memory(name: str) -> int:
    """A figure of /proc/self/status, in bytes; elsewhere the largest resident size."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def speed(work: Path, texts: Path, sizes: Sequence[int], *, with_usearch: bool) -> None:
    """Build and measure all sizes, each step in its own process."""
    work.mkdir(parents=True, exist_ok=True)
    steps = ["build", "search", *(["usearch"] if with_usearch else [])]
    path = work / RESULTS
    results = json.loads(path.read_text()) if path.is_file() else {}
    for size in sizes:
        entry = results.setdefault(str(size), {})
        for step in steps:
            if step == "build" and (work / str(size) / "knowledge.db").exists():
                continue
            command = [sys.executable, __file__, "step", str(work / str(size)), step, str(size), "--texts", str(texts)]
            entry[step] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            entry[step]["load"] = round(os.getloadavg()[0], 1)
            path.write_text(json.dumps(results, indent=1))
    table(work)


def table(work: Path) -> None:
    """Print the results and draw the picture."""
    results = {int(size): entry for size, entry in json.loads((work / RESULTS).read_text()).items()}
    print("| passages | index | build (s) | p50 (ms) | p95 (ms) | recall@10 | on disk (MB) | private (MB) | load |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for size, entry in sorted(results.items()):
        built, searched, hnsw = entry["build"], entry["search"], entry.get("usearch")
        memory_mb, load = f"{searched['private_bytes'] / 1e6:,.0f}", searched["load"]
        rows = [
            ("store", built["store_seconds"], None, None, built["store_bytes"], ""),
            ("lexical", built["lexical_seconds"], searched["lexical"], None, built["lexical_bytes"], ""),
            ("lexical, common words", None, searched["common"], None, None, ""),
            ("dense", built["dense_seconds"], searched["dense"], searched["recall"], built["dense_bytes"], ""),
            ("hybrid", None, searched["hybrid"], None, None, memory_mb),
        ]
        if hnsw is not None:
            usearch_mb = f"{hnsw['private_bytes'] / 1e6:,.0f}"
            rows.append(("usearch HNSW", hnsw["dense_seconds"], hnsw["dense"], hnsw["recall"], None, usearch_mb))
        for name, seconds, times, share, size_bytes, used in rows:
            p50, p95 = ("", "") if times is None else (f"{times[0]:.1f}", f"{times[1]:.1f}")
            cells = [
                f"{size:,}", name, "" if seconds is None else f"{seconds:,.1f}", p50, p95,
                "" if share is None else f"{share:.3f}", "" if size_bytes is None else f"{size_bytes / 1e6:,.0f}", used,
                f"{load:g}",
            ]  # fmt: skip
            print("| " + " | ".join(cells) + " |")
    draw(results)


def draw(results: dict[int, Any]) -> None:
    """Draw the latencies over the sizes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.8))
    sizes = sorted(results)
    for name, step, key in (
        ("words (BM25)", "search", "lexical"), ("meaning (bits + int8)", "search", "dense"),
        ("both, with texts", "search", "hybrid"), ("usearch HNSW", "usearch", "dense"),
    ):  # fmt: skip
        points = [(size, results[size][step][key][1]) for size in sizes if step in results[size]]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.axhline(50, color="grey", linestyle=":", label="goal")
    axes.set(xscale="log", yscale="log", xlabel="passages", ylabel="95th percentile (ms)")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=150)


def quality(pairs: Path, encoder: str, max_pairs: int) -> None:
    """Print recall and nDCG of the three searches on questions and answers."""
    dialogues = read_pairs(pairs, max_pairs)
    with tempfile.TemporaryDirectory() as name:
        store = open_knowledge_store(f"sqlite:///{Path(name) / 'knowledge.db'}")
        base = KnowledgeBase(Path(name), store, ModelEncoder(encoder))
        store.add(NewDocument(pairs.name, "0" * 64), (NewPassage(answer, 0, len(answer)) for _, answer in dialogues))
        base.update_lexical(seconds=600)
        base.embed()
        counts = store.scope_counts("")
        assert counts is not None
        questions = [JudgedQuery(text, frozenset({number})) for number, (text, _) in enumerate(dialogues, 1)]
        tuning, held_out = questions[::2], questions[1::2]
        weight = tune(base.index, counts, tuning).weight
        print(
            f"{pairs}: {len(questions)} passages, {len(held_out)} questions, weight {weight:g} of {len(tuning)} others"
        )
        print("| search | recall@5 | nDCG@10 |\n| --- | --- | --- |")
        for mode in MODES:
            candidates = [base.index.candidates(q.query, NUM_CANDIDATES, counts, {}, mode) for q in held_out]
            result = measure(candidates, held_out, {"lexical": 0.0, "dense": 1.0}.get(mode, weight))
            cells = []
            for values_Q in (result.recall_Q, result.ndcg_Q):
                value = mean_with_interval(values_Q)
                bounds = "" if value.interval is None else f" [{value.interval.low:.3f}, {value.interval.high:.3f}]"
                cells.append(f"{value.mean:.3f}{bounds}")
            print(f"| {mode} | {' | '.join(cells)} |")
        base.close()


def read_pairs(path: Path, max_pairs: int) -> list[tuple[str, str]]:
    """First questions and answers of dialogues; an answer that occurs again is left out."""
    pairs: dict[str, str] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            messages = json.loads(line)["messages"]
            turn = [message["content"] for message in messages if message["role"] in ("user", "assistant")][:2]
            if len(turn) == 2 and turn[1].strip():
                pairs.setdefault(turn[1], turn[0])
            if len(pairs) == max_pairs:
                break
    return [(question, answer) for answer, question in pairs.items()]


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    parse = commands.add_parser("speed")
    parse.add_argument("work", type=Path)
    parse.add_argument("--texts", type=Path, required=True)
    parse.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parse.add_argument("--no-usearch", action="store_true")
    parse = commands.add_parser("table")
    parse.add_argument("work", type=Path)
    parse = commands.add_parser("step")
    parse.add_argument("work", type=Path)
    parse.add_argument("step")
    parse.add_argument("size", type=int)
    parse.add_argument("--texts", type=Path)
    parse = commands.add_parser("quality")
    parse.add_argument("pairs", type=Path)
    parse.add_argument("--encoder", default="e5-small")
    parse.add_argument("--max-pairs", type=int, default=2000)
    options = parser.parse_args()
    if options.command == "speed":
        speed(options.work, options.texts, options.sizes, with_usearch=not options.no_usearch)
    elif options.command == "table":
        table(options.work)
    elif options.command == "quality":
        quality(options.pairs, options.encoder, options.max_pairs)
    elif options.step == "build":
        print(json.dumps(build(options.work, options.size, options.texts)))
    else:
        step = search_usearch(options.size) if options.step == "usearch" else search(options.work, options.size)
        print(json.dumps(step))


if __name__ == "__main__":
    main()
