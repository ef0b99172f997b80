"""Search in a knowledge base: lexical and dense candidates, fused, and checked against the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from turnwise.core.errors import InvalidParameter, Unavailable
from turnwise.core.knowledge import KnowledgeStore, Reranker, ScopeCounts, StoredPassage, TextEncoder
from turnwise.core.retrieval import NO_FILTERS, Passage, PassageLocation, RetrievedPassage, Retriever, SearchMode
from turnwise.retrieval.dense_index import DenseIndex
from turnwise.retrieval.filter_cache import FilterCache
from turnwise.retrieval.fusion import DEFAULT_WEIGHT, Candidates, fuse
from turnwise.retrieval.index_cursor import IndexDamaged
from turnwise.retrieval.lexical_index import LexicalIndex
from turnwise.retrieval.ranking import Ranking

MIN_COVERAGE = 0.9  # share of embedded passages below which dense scores would favour those that have a vector
NUM_CANDIDATES = 100  # of each index
MAX_CANDIDATES = 20_000
NUM_RERANKED = 20
MAX_RESULTS = 1000


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The result of a search.

    Attributes:
        passages: the passages, best first.
        mode: what ranked them. "lexical" although "hybrid" was requested: too few passages have vectors.
        coverage: share of the scope's passages that have a vector, 0 to 1.
    """

    passages: Sequence[RetrievedPassage]
    mode: SearchMode
    coverage: float


@dataclass(frozen=True, slots=True)
class DenseSearch:
    """A dense index with the encoder of its queries."""

    index: DenseIndex
    encoder: TextEncoder


class HybridIndex:
    """Searches a knowledge base (implements `core.retrieval.Retriever` for the scope ""). Thread-safe.

    Every passage is read from the store before it is returned: a deleted one, or one of another scope, is left out
    whatever the indexes contain.

    Args:
        store: the truth.
        lexical: an index of the store.
        dense: an index of the store with vectors; None: lexical search only.
        reranker: orders the best passages again.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        lexical: LexicalIndex,
        dense: DenseSearch | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self._store, self._lexical, self._dense, self._reranker = store, lexical, dense, reranker
        self._filters = FilterCache(store)

    def search(self, query: str, k: int) -> Sequence[RetrievedPassage]:
        """At most `k` passages of the scope "", best first."""
        return self.search_scope(query, k).passages

    def for_scope(self, scope: str, filters: Mapping[str, str] = NO_FILTERS) -> Retriever:
        """A retriever that sees one scope, and of it only what has the metadata."""
        return _ScopedRetriever(self, scope, dict(filters))

    def search_scope(
        self,
        query: str,
        k: int,
        scope: str = "",
        filters: Mapping[str, str] = NO_FILTERS,
        mode: SearchMode = "hybrid",
    ) -> SearchOutcome:
        """Search a scope.

        Args:
            query: a question or words; no character has a special meaning.
            k: maximum number of passages, 1 to `MAX_RESULTS`.
            scope: the tenant.
            filters: metadata that the documents must have.
            mode: which indexes rank the passages.

        Raises:
            InvalidParameter: `k` is out of range, or "dense" without an encoder.
            Unavailable: the index is being built.
        """
        if not 1 <= k <= MAX_RESULTS:
            raise InvalidParameter("k", f"A search returns 1 to {MAX_RESULTS:,} passages, not {k}.")
        if mode == "dense" and self._dense is None:
            raise InvalidParameter("mode", "Dense search needs an encoder.")
        counts = self._store.scope_counts(scope)
        if counts is None or not counts.num_passages:
            return SearchOutcome((), mode if self._dense else "lexical", 1.0 if self._dense else 0.0)
        coverage = self.coverage(counts)
        if mode == "hybrid" and coverage < MIN_COVERAGE:
            mode = "lexical"
        num_results = max(k, NUM_RERANKED) if self._reranker else k
        num_candidates = max(NUM_CANDIDATES, 2 * num_results)
        while True:
            candidates = self.candidates(query, num_candidates, counts, filters, mode)
            results = self._fetch(fuse(candidates, self.weight(mode)), num_results, scope, filters)
            lists = [ranking for ranking in (candidates.lexical, candidates.dense) if ranking is not None]
            is_complete = all(len(ranking) < num_candidates for ranking in lists)
            if len(results) == num_results or is_complete or num_candidates >= MAX_CANDIDATES:
                break
            num_candidates *= 4  # many candidates are no longer in the store
        used: SearchMode = mode if candidates.dense is None or mode == "dense" else "hybrid"
        return SearchOutcome(self._rerank(query, results)[:k], used, coverage)

    def coverage(self, counts: ScopeCounts) -> float:
        """Share of the scope's passages that have a vector; 0 without a usable dense index."""
        if self._dense is None:
            return 0.0
        try:
            return min(1.0, self._dense.index.count(counts.id) / max(1, counts.num_passages))
        except IndexDamaged:
            return 0.0

    def candidates(
        self, query: str, num_candidates: int, counts: ScopeCounts, filters: Mapping[str, str], mode: SearchMode
    ) -> Candidates:
        """The best passages of each index that the mode uses; the store may no longer have some of them.

        Raises:
            Unavailable: an index is damaged or missing, and has to be built first.
        """
        try:
            lexical = Ranking.empty()
            if mode != "dense":
                lexical = self._lexical.search(query, num_candidates, counts, filters)
            if mode == "lexical" or self._dense is None:
                return Candidates(lexical)
            query_D = self._dense.encoder.embed_query(query)
            ranges_R2 = self._filters.ranges(counts.name, filters) if filters else None
            dense = self._dense.index.search(query_D, num_candidates, counts.id, ranges_R2)
            return Candidates(lexical, dense, self._dense.index.scores(lexical.ids_K, query_D))
        except IndexDamaged as error:
            raise Unavailable(f"The index has to be built again: `turnwise knowledge rebuild`. {error}") from error

    def weight(self, mode: SearchMode) -> float:
        """Weight of the dense scores: 0 or 1 for one index; of the fusion, the tuned one of the encoder."""
        if mode != "hybrid" or self._dense is None:
            return float(mode == "dense")
        value = self._store.setting(weight_setting(self._dense.encoder.fingerprint))
        return DEFAULT_WEIGHT if value is None else float(value)

    def save_weight(self, weight: float) -> None:
        """Store the weight of the fusion with the index."""
        assert self._dense is not None
        self._store.save_setting(weight_setting(self._dense.encoder.fingerprint), repr(float(weight)))

    def _fetch(
        self, ranking: Ranking, count: int, scope: str, filters: Mapping[str, str]
    ) -> list[tuple[StoredPassage, float]]:
        """The first `count` passages of a ranking that the store has."""
        results: list[tuple[StoredPassage, float]] = []
        start = 0
        while start < len(ranking) and len(results) < count:
            end = start + count - len(results)
            scores = dict(zip(ranking.ids_K[start:end].tolist(), ranking.scores_K[start:end].tolist(), strict=True))
            fetched = self._store.fetch(list(scores), scope, filters)
            results += [(passage, scores[passage.id]) for passage in fetched]
            start = end
        return results

    def _rerank(self, query: str, results: list[tuple[StoredPassage, float]]) -> list[RetrievedPassage]:
        if self._reranker is not None and results:
            scores = np.array(self._reranker.scores(query, [passage.index_text for passage, _ in results]))
            order: NDArray[np.int64] = np.argsort(-scores, kind="stable")
            results = [(results[i][0], float(scores[i])) for i in order.tolist()]
        return [RetrievedPassage(_to_passage(passage), score) for passage, score in results]


@dataclass(frozen=True, slots=True)
class _ScopedRetriever:
    """See `HybridIndex.for_scope`."""

    index: HybridIndex
    scope: str
    filters: Mapping[str, str] = field(default_factory=dict)

    def search(self, query: str, k: int) -> Sequence[RetrievedPassage]:
        return self.index.search_scope(query, k, self.scope, self.filters).passages


def weight_setting(fingerprint: str) -> str:
    """Name of the setting that holds the tuned weight of an encoder."""
    return f"fusion_weight:{fingerprint}"


def _to_passage(stored: StoredPassage) -> Passage:
    document = stored.document
    location = PassageLocation(document.sha256, stored.start, stored.end, stored.headings, stored.page)
    return Passage(stored.text, document.source, document.metadata, location)


_: type[Retriever] = HybridIndex  # the type checker compares it with the port
