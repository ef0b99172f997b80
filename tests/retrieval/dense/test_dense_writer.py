"""A dense index follows the documents of a store."""

import pytest

from knowledge_stand_ins import DIMENSION, WordEncoder, add
from turnwise.retrieval import dense_writer as dense_writer_module
from turnwise.retrieval.dense_index import DenseIndex
from turnwise.retrieval.dense_writer import dense_writer
from turnwise.store.sqlite import knowledge_changes


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
