"""The dense index: exact for few rows, close to exact for many, deterministic, and never of two encoders."""

import os
import shutil
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from knowledge_stand_ins import DIMENSION, WordEncoder, add
from turnwise.core.errors import Unavailable
from turnwise.retrieval import dense_format, dense_index, hamming_scan
from turnwise.retrieval import dense_writer as dense_writer_module
from turnwise.retrieval.dense_format import quantize_rows, sign_bits
from turnwise.retrieval.dense_index import DenseIndex
from turnwise.retrieval.dense_writer import DenseWriter, dense_writer
from turnwise.retrieval.hamming_scan import nearest_rows
from turnwise.retrieval.index_cursor import IndexCursor, IndexDamaged
from turnwise.store import open_knowledge_store
from turnwise.store.sqlite import knowledge_changes

ENCODER = "encoder-1"


def random_vectors(count, dimension=DIMENSION, seed=0, num_clusters=20):
    """Unit vectors in clusters, with a common direction as E5 has it."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((num_clusters, dimension)) + 1.0
    vectors = centres[rng.integers(0, num_clusters, count)] + rng.standard_normal((count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write(folder, vectors, scopes=None, batch=1000, encoder=ENCODER, first_id=1):
    writer = DenseWriter(folder, encoder, vectors.shape[1])
    scopes = np.ones(len(vectors), np.uint32) if scopes is None else np.asarray(scopes, np.uint32)
    for start in range(0, len(vectors), batch):
        block = vectors[start : start + batch]
        ids = np.arange(first_id + start, first_id + start + len(block))
        cursor = IndexCursor("base", int(ids[-1]), 0, 1)
        writer.append(ids, scopes[start : start + batch], block, cursor)
    return writer


def exact(vectors, query, k):
    return np.argsort(-(vectors @ query), kind="stable")[:k] + 1


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "dense" / "hash"


@pytest.fixture
def store(tmp_path):
    opened = open_knowledge_store(f"sqlite:///{tmp_path / 'knowledge.db'}")
    yield opened
    opened.close()


# Quantization


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1, 1, width=32)))
def test_rows_differ_by_at_most_half_a_unit(vectors):
    rows, scales = quantize_rows(vectors)
    assert np.abs(rows * scales[:, None] - vectors).max() <= scales.max() / 2 + 1e-6


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 130)), elements=st.floats(-1, 1, width=32)))
def test_the_distance_of_bits_counts_the_signs_that_differ(vectors):
    words = sign_bits(vectors)
    distances = np.bitwise_count(words ^ words[:, :1]).sum(axis=0)
    assert distances.tolist() == ((vectors > 0) != (vectors[:1] > 0)).sum(axis=1).tolist()


# The scan


@given(data=st.data())
@settings(max_examples=60)
def test_the_scan_returns_the_nearest_rows_in_every_division_into_blocks_and_threads(data):
    num_rows = data.draw(st.integers(1, 60))
    bits = data.draw(hnp.arrays(np.uint64, (2, num_rows), elements=st.integers(0, 7)))
    query = data.draw(hnp.arrays(np.uint64, 2, elements=st.integers(0, 7)))
    count = data.draw(st.integers(1, 70))
    excluded = data.draw(st.none() | hnp.arrays(np.bool_, num_rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming_scan, "BLOCK_ROWS", data.draw(st.integers(1, 70)))
        patch.setattr(hamming_scan, "ROWS_PER_THREAD", data.draw(st.integers(1, 70)))
        rows = nearest_rows(list(bits), query, count, excluded)
    distances = np.bitwise_count(bits ^ query[:, None]).sum(axis=0).astype(int)
    allowed = [row for row in range(num_rows) if excluded is None or not excluded[row]]
    assert rows.tolist() == sorted(sorted(allowed, key=lambda row: (distances[row], row))[:count])


# Search


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


# Following the store


def test_new_passages_are_embedded_in_batches_and_deleted_ones_masked(store, folder, monkeypatch):
    monkeypatch.setattr(dense_writer_module, "READ_DELETIONS", 2)
    encoder = WordEncoder()
    documents = [add(store, f"{i}", f"lamp {i}", f"chair {i}").document for i in range(5)]
    with dense_writer(folder, encoder, 1.0) as writer:
        assert [writer.update(store, encoder, 4) for _ in range(4)] == [4, 4, 2, 0]
        index = DenseIndex(folder, encoder.fingerprint)
        assert index.cursor.is_at(store.position())
        for document in documents[:3]:
            store.delete(document.id, "")
        assert writer.update(store, encoder) == 0
        assert index.cursor.is_at(store.position())
    assert sorted(index.search(encoder.embed_query("lamp"), 50, 1).ids_K) == [7, 8, 9, 10]
    assert encoder.num_texts == 10


def test_a_passage_that_was_deleted_before_it_was_embedded_never_is(store, folder):
    encoder = WordEncoder()
    store.delete(add(store, "a", "lamp").document.id, "")
    with dense_writer(folder, encoder, 1.0) as writer:
        assert writer.update(store, encoder) == 0
        assert writer.cursor.is_at(store.position())
    assert encoder.num_texts == 0


def test_an_index_behind_the_log_of_deletions_keeps_its_vectors(store, folder, monkeypatch):
    monkeypatch.setattr(knowledge_changes, "KEPT_DELETIONS", 2)
    encoder = WordEncoder()
    documents = [add(store, f"{i}", f"lamp {i}", f"chair {i}", scope=str(i % 2)).document for i in range(6)]
    with dense_writer(folder, encoder, 1.0) as writer:
        writer.update(store, encoder)
        for document in documents[:5]:
            assert store.delete(document.id, document.scope)
        assert writer.update(store, encoder) == 0
        assert writer.cursor.is_at(store.position())
    index = DenseIndex(folder, encoder.fingerprint)
    assert [index.count(documents[number].scope_id) for number in (0, 1)] == [0, 2]
    assert encoder.num_texts == 12


def test_a_filter_is_applied_to_new_rows_too(folder):
    vectors = random_vectors(30)
    writer = write(folder, vectors[:20])
    index, ranges = DenseIndex(folder, ENCODER), np.array([[3, 4], [10, 12], [25, 26]])
    assert sorted(index.search(vectors[0], 50, 1, ranges).ids_K) == [3, 4, 10, 11, 12]
    writer.append(np.arange(21, 31), np.ones(10, np.uint32), vectors[20:], IndexCursor("base", 30, 0, 1))
    assert sorted(index.search(vectors[0], 50, 1, ranges).ids_K) == [3, 4, 10, 11, 12, 25, 26]
    assert index.search(vectors[0], 50, 2, ranges).ids_K.tolist() == []


def test_embedding_continues_after_a_failure(store, folder):
    encoder = WordEncoder()
    add(store, "a", *(f"lamp {i}" for i in range(10)))

    class Failing(WordEncoder):
        def embed_passages(self, texts):
            if self.num_texts:
                raise RuntimeError("out of memory")
            return super().embed_passages(texts)

    failing = Failing()
    with dense_writer(folder, failing, 1.0) as writer:
        assert writer.update(store, failing, 4) == 4
        with pytest.raises(RuntimeError):
            writer.update(store, failing, 4)
    with dense_writer(folder, encoder, 1.0) as writer:
        while writer.update(store, encoder, 4):
            pass
    assert encoder.num_texts == 6
    assert DenseIndex(folder, encoder.fingerprint).count(1) == 10


def test_rows_after_the_saved_state_do_not_exist(folder):
    vectors = random_vectors(50)
    write(folder, vectors[:30])
    for name in ("ids.i64", "rows.i8", "bits.00"):  # what a killed writer leaves
        with (folder / name).open("ab") as file:
            file.write(os.urandom(100))
    assert DenseIndex(folder, ENCODER).count(1) == 30
    write(folder, vectors[30:], first_id=31)
    query = vectors[40]
    assert DenseIndex(folder, ENCODER).search(query, 1, 1).ids_K.tolist() == [41]
    assert DenseIndex(folder, ENCODER).count(1) == 50


def test_a_third_of_dead_rows_is_compacted_and_nothing_else_changes(store, folder, monkeypatch):
    monkeypatch.setattr(dense_writer_module, "MIN_COMPACTED", 10)
    encoder = WordEncoder()
    for number in range(12):
        add(store, f"{number}", f"lamp {number}")
    query = encoder.embed_query("lamp 9")
    with dense_writer(folder, encoder, 1.0) as writer:
        writer.update(store, encoder)
        index = DenseIndex(folder, encoder.fingerprint)
        before = index.search(query, 50, 1)
        for number in range(5):
            store.delete(store.find_document(f"{number}", "").id, "")
            writer.update(store, encoder)
        assert index.rows().state.num_rows == 7
    after = index.search(query, 50, 1)
    kept = before.ids_K > 5
    assert after.ids_K.tolist() == before.ids_K[kept].tolist()
    assert after.scores_K.tolist() == before.scores_K[kept].tolist()
    assert (folder / "rows.i8").stat().st_size == 7 * DIMENSION


# Damage


def test_another_encoder_is_never_mixed_in(folder):
    write(folder, random_vectors(10))
    with pytest.raises(IndexDamaged, match="another encoder"):
        DenseIndex(folder, "encoder-2").rows()
    write(folder, random_vectors(5), encoder="encoder-2")
    assert DenseIndex(folder, "encoder-2").count(1) == 5


def test_another_store_starts_anew(store, folder, tmp_path):
    encoder = WordEncoder()
    add(store, "a", "lamp", "chair")
    other = open_knowledge_store(f"sqlite:///{tmp_path / 'other.db'}")
    add(other, "a", "table")
    for source in (store, other):
        with dense_writer(folder, encoder, 1.0) as writer:
            while writer.update(source, encoder):
                pass
    assert DenseIndex(folder, encoder.fingerprint).count(1) == 1
    other.close()


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intact") / "hash"
    write(folder, random_vectors(30))
    return folder


@given(data=st.data(), kind=st.sampled_from(["flip", "cut", "delete"]), position=st.integers(0, 10**6))
@settings(max_examples=60)
def test_a_damaged_file_is_never_served(tmp_path_factory, intact, data, kind, position):
    folder = tmp_path_factory.mktemp("damaged") / "hash"
    shutil.copytree(intact, folder)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    if kind == "delete":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[: position % len(content)])
    else:
        content[position % len(content)] ^= 1 << position % 8
        path.write_bytes(content)
    with pytest.raises(IndexDamaged):
        DenseIndex(folder, ENCODER).rows()


def test_a_damaged_index_is_built_anew(folder):
    vectors = random_vectors(30)
    write(folder, vectors)
    (folder / "rows.i8").write_bytes(b"")
    write(folder, vectors[:7])
    assert DenseIndex(folder, ENCODER).count(1) == 7


def test_one_writer_at_a_time(folder):
    encoder = WordEncoder()
    with dense_writer(folder, encoder, 1.0), pytest.raises(Unavailable), dense_writer(folder, encoder, 0.0):
        pass


@pytest.mark.costly
def test_readers_run_beside_appends_and_compactions(folder):
    vectors = random_vectors(400)
    writer = write(folder, vectors[:100])
    index, errors, stop = DenseIndex(folder, ENCODER), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                assert index.search(vectors[5], 1, 1).ids_K.tolist() == [6]
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(100, 400, 20):
        ids = np.arange(start + 1, start + 21)
        writer.append(ids, np.ones(20), vectors[start : start + 20], IndexCursor("base", start, 0, 1))
        writer.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
