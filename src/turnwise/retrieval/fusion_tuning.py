"""Tunes the weight of the fusion, and measures lexical, dense and fused search on questions with known passages.

Shapes: Q questions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnwise.core.errors import InvalidParameter
from turnwise.core.knowledge import ScopeCounts
from turnwise.core.retrieval import SearchMode
from turnwise.retrieval.fusion import DEFAULT_WEIGHT, Candidates, fuse
from turnwise.retrieval.hybrid_index import NUM_CANDIDATES, HybridIndex

NDCG_DEPTH, RECALL_DEPTH = 10, 5
# Weights near 1 differ most where all cosines are large, as with E5.
WEIGHTS = tuple(round(number / 100, 2) for number in [*range(0, 90, 5), *range(90, 101)])
MODES: tuple[SearchMode, ...] = ("lexical", "dense", "hybrid")


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A question and the ids of the passages that answer it, at least one."""

    query: str
    relevant: frozenset[int]


@dataclass(frozen=True, slots=True)
class SearchQuality:
    """Quality per question.

    Attributes:
        recall_Q: share of the relevant passages among the first `RECALL_DEPTH`, at most that many counted.
        ndcg_Q: nDCG at `NDCG_DEPTH` with relevance 0 or 1.
    """

    recall_Q: NDArray[np.float64]
    ndcg_Q: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TuningResult:
    """Result of a tuning.

    Attributes:
        weight: the best weight.
        ndcg: mean nDCG of each weight.
        quality: quality of each mode, "hybrid" with the best weight.
    """

    weight: float
    ndcg: Mapping[float, float]
    quality: Mapping[SearchMode, SearchQuality]


def tune(index: HybridIndex, counts: ScopeCounts, questions: Sequence[JudgedQuery]) -> TuningResult:
    """Find the weight with the largest mean nDCG; of equal ones, the closest to the default. It is not stored.

    Raises:
        InvalidParameter: there is no question.
        Unavailable: an index has to be built first.
    """
    if not questions:
        raise InvalidParameter("questions", "Tuning needs at least one question whose answer is in the knowledge base.")
    candidates = [index.candidates(q.query, NUM_CANDIDATES, counts, {}, "hybrid") for q in questions]
    if any(candidate.dense is None for candidate in candidates):
        raise InvalidParameter("encoder", "Tuning needs the vectors of an encoder.")
    by_weight = {weight: measure(candidates, questions, weight) for weight in WEIGHTS}
    ndcg = {weight: float(quality.ndcg_Q.mean()) for weight, quality in by_weight.items()}
    best = max(WEIGHTS, key=lambda weight: (ndcg[weight], -abs(weight - DEFAULT_WEIGHT)))
    lexical = [Candidates(candidate.lexical) for candidate in candidates]
    dense = measure(candidates, questions, 1.0)
    return TuningResult(
        best, ndcg, {"lexical": measure(lexical, questions, 0.0), "dense": dense, "hybrid": by_weight[best]}
    )


def measure(candidates: Sequence[Candidates], questions: Sequence[JudgedQuery], weight: float) -> SearchQuality:
    """Quality of the fusion with a weight."""
    rankings = [fuse(candidate, weight).ids_K[:NDCG_DEPTH].tolist() for candidate in candidates]
    pairs = list(zip(rankings, questions, strict=True))
    return SearchQuality(
        np.array([recall(ids, question.relevant) for ids, question in pairs]),
        np.array([ndcg(ids, question.relevant) for ids, question in pairs]),
    )


def recall(ids: Sequence[int], relevant: frozenset[int], depth: int = RECALL_DEPTH) -> float:
    """Share of the relevant passages among the first ones; of more than `depth`, `depth` count as all."""
    return len(relevant.intersection(ids[:depth])) / min(len(relevant), depth)


def ndcg(ids: Sequence[int], relevant: frozenset[int], depth: int = NDCG_DEPTH) -> float:
    """Normalized discounted cumulative gain with relevance 0 or 1 (Järvelin & Kekäläinen 2002)."""
    gain = math.fsum(1 / math.log2(rank + 2) for rank, id in enumerate(ids[:depth]) if id in relevant)
    return gain / math.fsum(1 / math.log2(rank + 2) for rank in range(min(len(relevant), depth)))
