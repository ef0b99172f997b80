"""Fusion of two rankings, and the tuning of its weight."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.retrieval.fusion import Candidates, fuse
from turnwise.retrieval.fusion_tuning import ndcg, recall
from turnwise.retrieval.ranking import Ranking


def ranking(**scores):
    return Ranking.of(np.array([int(key[1:]) for key in scores]), np.array(list(scores.values()), np.float64))


def cosines(*values):
    return np.array(values, np.float64)


def test_scores_are_normalized_by_their_theoretical_minimum_and_the_largest_of_the_query():
    candidates = Candidates(ranking(p1=4.0, p2=1.0), ranking(p1=0.6, p3=1.0), cosines(0.6, 0.2))
    fused = fuse(candidates, 0.5)
    assert dict(zip(fused.ids_K.tolist(), fused.scores_K.tolist(), strict=True)) == pytest.approx(
        {1: 0.5 * 1.6 / 2 + 0.5, 2: 0.5 * 1.2 / 2 + 0.5 / 4, 3: 0.5}
    )


@pytest.mark.parametrize(("weight", "order"), [(0.0, [1, 2, 3]), (1.0, [3, 1, 2])])
def test_a_weight_at_the_end_is_one_of_the_rankings(weight, order):
    candidates = Candidates(ranking(p1=4.0, p2=1.0), ranking(p3=1.0, p1=0.6), cosines(0.6, 0.2))
    assert fuse(candidates, weight).ids_K.tolist() == order


def test_a_passage_without_a_vector_is_neither_preferred_nor_suppressed():
    candidates = Candidates(ranking(p1=4.0, p2=2.0, p3=1.0), ranking(p1=0.9, p3=0.1), cosines(0.9, np.nan, 0.1))
    scores = dict(
        zip(*(array.tolist() for array in (fuse(candidates, 1.0).ids_K, fuse(candidates, 1.0).scores_K)), strict=True)
    )
    assert scores[2] == pytest.approx((0.5 + 1) / 1.9)


def test_one_index_alone():
    assert fuse(Candidates(ranking(p1=1.0, p2=3.0)), 0.8).ids_K.tolist() == [2, 1]
    assert fuse(Candidates(Ranking.empty(), ranking(p5=0.4), cosines()), 1.0).ids_K.tolist() == [5]
    assert len(fuse(Candidates(Ranking.empty(), Ranking.empty(), cosines()), 0.5)) == 0


@given(
    st.dictionaries(st.integers(1, 9), st.floats(0, 10)),
    st.dictionaries(st.integers(1, 9), st.floats(-1, 1)),
    st.floats(0, 1),
)
def test_the_fusion_ranks_every_candidate_once_by_scores_from_0_to_1(lexical, dense, weight):
    def build(scores):
        return Ranking.of(np.array(list(scores), np.int64), np.array(list(scores.values()), np.float64))

    first = build(lexical)
    fused = fuse(
        Candidates(first, build(dense), cosines(*(dense.get(id, np.nan) for id in first.ids_K.tolist()))), weight
    )
    assert sorted(fused.ids_K.tolist()) == sorted({*lexical, *dense})
    assert (np.diff(fused.scores_K) <= 0).all()
    assert ((fused.scores_K >= 0) & (fused.scores_K <= 1 + 1e-9)).all()


def test_recall_and_ndcg():
    relevant = frozenset({1, 2})
    assert recall([1, 5, 2], relevant) == 1.0
    assert recall([3, 4, 5, 6, 7, 1], relevant) == 0.0
    assert recall([1, 2, 3, 4, 5], frozenset(range(1, 11))) == 1.0
    assert ndcg([1, 2], relevant) == 1.0
    assert ndcg([9, 1], frozenset({1})) == pytest.approx(1 / np.log2(3))
    assert ndcg([9], relevant) == 0.0
