"""Fusion of a lexical and a dense ranking: a convex combination of normalized scores.

Scores are normalized by the smallest value that they can have and the largest one of the query (Bruch, Gai & Ingber
2023, "An Analysis of Fusion Functions for Hybrid Retrieval": TM2C2). It has one weight, which a few questions tune, and
keeps the distances between scores, which a fusion of ranks loses.

Shapes: K passages.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnwise.retrieval.ranking import Ranking

DEFAULT_WEIGHT = 0.98  # of the dense scores, which differ less; tuned with benchmarks/retrieval_quality.py
MIN_COSINE = -1.0


@dataclass(frozen=True, slots=True)
class Candidates:
    """What both indexes return for a query.

    Attributes:
        lexical: passages by BM25.
        dense: passages by cosine; None if the dense index is not used.
        lexical_cosines_K: cosines of the passages of `lexical`; NaN for passages without a vector.
    """

    lexical: Ranking
    dense: Ranking | None = None
    lexical_cosines_K: NDArray[np.float64] | None = None


def fuse(candidates: Candidates, weight: float) -> Ranking:
    """Rank the passages of both rankings.

    A passage without a vector gets the median cosine of the other lexical candidates, so that it is neither preferred
    nor suppressed until it is embedded. A passage that is not a lexical candidate has the lexical score 0.

    Args:
        candidates: the rankings.
        weight: weight of the dense scores, 0 to 1.
    """
    lexical, dense = candidates.lexical, candidates.dense
    lexical_K = _normalize(lexical.scores_K, 0.0)
    if dense is None or candidates.lexical_cosines_K is None:
        return Ranking.of(lexical.ids_K, lexical_K)
    cosines_K = _fill_missing(candidates.lexical_cosines_K, dense.scores_K)
    is_new_K = ~np.isin(dense.ids_K, lexical.ids_K)
    ids_K = np.concatenate([lexical.ids_K, dense.ids_K[is_new_K]])
    dense_K = _normalize(np.concatenate([cosines_K, dense.scores_K[is_new_K]]), MIN_COSINE)
    lexical_K = np.concatenate([lexical_K, np.zeros(int(is_new_K.sum()))])
    return Ranking.of(ids_K, weight * dense_K + (1 - weight) * lexical_K)


def _fill_missing(cosines_K: NDArray[np.float64], dense_scores_K: NDArray[np.float64]) -> NDArray[np.float64]:
    is_missing_K = np.isnan(cosines_K)
    if is_missing_K.all():
        return np.full(len(cosines_K), dense_scores_K.min(initial=1.0))
    return np.where(is_missing_K, np.median(cosines_K[~is_missing_K]), cosines_K)


def _normalize(scores_K: NDArray[np.float64], minimum: float) -> NDArray[np.float64]:
    """Scores relative to the theoretical minimum (0) and the largest one (1)."""
    spread = scores_K.max(initial=minimum) - minimum
    return (scores_K - minimum) / spread if spread > 0 else np.zeros(len(scores_K))
