"""Maximal marginal relevance: similar to the dialogue, but not to each other.

Demonstrations are chosen one after the other by `RELEVANCE · similarity to the query − (1 − RELEVANCE) · largest
similarity to a chosen one` (Carbonell and Goldstein 1998). With near copies in the data, `nearest` shows one example
several times.
"""

import numpy as np

from turnwise.text.rendering.demonstration_pool import DemonstrationPool

RELEVANCE = 0.5
MAX_CANDIDATES = 200  # the most similar ones, so that a selection takes linear time in `shots`


def select(pool: DemonstrationPool, query: str, shots: int) -> list[int]:
    """The chosen demonstrations, the most relevant one last."""
    relevance_N = pool.similarities(query)
    candidates = np.argsort(-relevance_N, kind="stable")[:MAX_CANDIDATES].tolist()
    redundancy_C = np.zeros(len(candidates))
    relevance_C = relevance_N[candidates]
    is_free_C = np.ones(len(candidates), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(shots, len(candidates)):
        scores_C = np.where(is_free_C, RELEVANCE * relevance_C - (1 - RELEVANCE) * redundancy_C, -np.inf)
        best = int(np.argmax(scores_C))
        is_free_C[best] = False
        chosen.append(candidates[best])
        redundancy_C = np.maximum(redundancy_C, pool.similarities_between(candidates[best], candidates))
    return chosen[::-1]
