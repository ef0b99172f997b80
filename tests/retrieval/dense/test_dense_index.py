"""The search in a dense index: exact for few rows, close to exact for many, and deterministic."""

import numpy as np
import pytest
from dense_samples import ENCODER, exact, random_vectors, write

from turnwise.retrieval import dense_format, dense_index, hamming_scan
from turnwise.retrieval.dense_index import DenseIndex
from turnwise.retrieval.index_cursor import IndexCursor


def test_few_rows_are_searched_exactly(folder):
    vectors = random_vectors(300)
    write(folder, vectors)
    index = DenseIndex(folder, ENCODER)
    for query in random_vectors(20, seed=5):
        ranking = index.search(query, 10, 1)
        assert ranking.scores_K == pytest.approx((vectors @ query)[ranking.ids_K - 1], abs=0.01)
        assert len(set(ranking.ids_K) & set(exact(vectors, query, 10))) >= 9


@pytest.mark.costly
def test_many_rows_have_a_recall_of_97_percent(folder):
    vectors = random_vectors(20_000, dimension=384, num_clusters=400)
    write(folder, vectors, batch=5000)
    index = DenseIndex(folder, ENCODER)
    assert index.rows().header.has_mean
    queries = random_vectors(50, dimension=384, seed=5, num_clusters=400)
    shared = [len(set(index.search(query, 10, 1).ids_K) & set(exact(vectors, query, 10))) for query in queries]
    assert np.mean(shared) >= 9.7


def test_the_mean_is_subtracted_once_there_are_enough_rows(folder):
    vectors = random_vectors(dense_format.MEAN_ROWS + 500)
    writer = write(folder, vectors[:1000], batch=300)
    assert not DenseIndex(folder, ENCODER).rows().header.has_mean
    writer.append(
        np.arange(1001, len(vectors) + 1), np.ones(len(vectors) - 1000), vectors[1000:], IndexCursor("base", 9, 0, 1)
    )
    header = DenseIndex(folder, ENCODER).rows().header
    assert header.has_mean
    assert header.mean_D == pytest.approx(vectors.mean(axis=0), abs=0.02)
    index = DenseIndex(folder, ENCODER)
    query = random_vectors(1, seed=7)[0]
    assert index.search(query, 10, 1).scores_K == pytest.approx(np.sort(vectors @ query)[::-1][:10], abs=0.01)


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_result_does_not_depend_on_the_batches(folder, tmp_path, batch):
    vectors = random_vectors(100)
    write(folder, vectors, batch=batch)
    write(tmp_path / "reference", vectors, batch=1000)
    query = vectors[3]
    first, second = (DenseIndex(path, ENCODER).search(query, 10, 1) for path in (folder, tmp_path / "reference"))
    assert first.ids_K.tolist() == second.ids_K.tolist()
    assert first.scores_K.tolist() == second.scores_K.tolist()


def test_equal_vectors_come_in_the_order_of_their_ids(folder, monkeypatch):
    monkeypatch.setattr(dense_index, "MIN_CANDIDATES", 20)
    monkeypatch.setattr(hamming_scan, "ROWS_PER_THREAD", 1000)
    vectors = np.repeat(random_vectors(3), [dense_format.MEAN_ROWS, 3000, 3000], axis=0)
    write(folder, vectors)
    ranking = DenseIndex(folder, ENCODER).search(vectors[-1], 15, 1)
    first = dense_format.MEAN_ROWS + 3000 + 1
    assert ranking.ids_K.tolist() == list(range(first, first + 15))
    assert len(set(ranking.scores_K.tolist())) == 1


@pytest.mark.parametrize("num_rows", [200, 12_000])
def test_scopes_and_ranges_are_never_left(folder, num_rows):
    vectors = random_vectors(num_rows)
    write(folder, vectors, scopes=np.arange(num_rows) % 2 + 1)
    index = DenseIndex(folder, ENCODER)
    query = vectors[0]
    assert set(index.search(query, 50, 1).ids_K % 2) == {1}
    assert set(index.search(query, 50, 2).ids_K % 2) == {0}
    assert len(index.search(query, 50, 3)) == 0
    ranges = np.array([[10, 12], [100, 100]])
    assert sorted(index.search(query, 50, 1, ranges).ids_K) == [11]
    assert sorted(index.search(query, 50, 2, ranges).ids_K) == [10, 12, 100]
    assert len(index.search(query, 50, 1, np.empty((0, 2), np.int64))) == 0
    assert (index.count(1), index.count(2), index.count(3)) == (num_rows // 2, num_rows // 2, 0)


def test_scores_of_ids(folder):
    vectors = random_vectors(20)
    write(folder, vectors, first_id=100)
    index = DenseIndex(folder, ENCODER)
    scores = index.scores(np.array([119, 5, 100, 120]), vectors[19])
    assert scores[[0, 2]] == pytest.approx([1.0, vectors[0] @ vectors[19]], abs=0.01)
    assert np.isnan(scores[[1, 3]]).all()


def test_a_filter_is_applied_to_new_rows_too(folder):
    vectors = random_vectors(30)
    writer = write(folder, vectors[:20])
    index, ranges = DenseIndex(folder, ENCODER), np.array([[3, 4], [10, 12], [25, 26]])
    assert sorted(index.search(vectors[0], 50, 1, ranges).ids_K) == [3, 4, 10, 11, 12]
    writer.append(np.arange(21, 31), np.ones(10, np.uint32), vectors[20:], IndexCursor("base", 30, 0, 1))
    assert sorted(index.search(vectors[0], 50, 1, ranges).ids_K) == [3, 4, 10, 11, 12, 25, 26]
    assert index.search(vectors[0], 50, 2, ranges).ids_K.tolist() == []
