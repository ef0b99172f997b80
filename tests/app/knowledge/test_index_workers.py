"""Indexes of a knowledge base are updated by threads, in batches, and by encoder."""

from knowledge_bases import open_base

from knowledge_stand_ins import WordEncoder, add, texts_of
from turnwise.app.knowledge.index_workers import IndexWorkers
from turnwise.retrieval.lexical_writer import lexical_writer


def test_workers_make_additions_of_any_process_searchable(base):
    other = open_base(base.folder)
    workers = IndexWorkers(base)
    workers.start()
    try:
        for number in range(3):
            document = add(other.store, "a", f"lamp {number}").document
            wait_until(lambda id=document.id: base.is_searchable() and base.status().num_vectors == 1)
            assert texts_of(other.index.search("lamp", 5)) == [f"lamp {number}"]
    finally:
        workers.stop()
    assert base.problems() == []
    other.close()


def test_workers_go_on_after_an_unexpected_error(base, monkeypatch, caplog):
    monkeypatch.setattr("turnwise.app.knowledge.index_workers.RETRY_SECONDS", 0.0)
    errors = [OSError("secret words of a document"), ValueError("secret words of a document")]

    def fail_twice(*arguments):
        if errors:
            raise errors.pop()
        return lexical_writer(*arguments)

    monkeypatch.setattr("turnwise.app.knowledge.index_workers.lexical_writer", fail_twice)
    add(base.store, "a", "lamp")
    workers = IndexWorkers(base)
    workers.start()
    try:
        wait_until(base.is_searchable)
    finally:
        workers.stop()
    assert texts_of(base.index.search("lamp", 5)) == ["lamp"]
    assert errors == []
    assert caplog.text.count("is tried again: OSError") == caplog.text.count("is tried again: ValueError") == 1
    assert "secret" not in caplog.text


def wait_until(condition):
    """Wait without a limit of its own: the test runner has one."""
    import time

    while not condition():
        time.sleep(0.01)


def test_embedding_stops_after_a_batch_and_continues(base, monkeypatch):
    monkeypatch.setattr("turnwise.app.knowledge.knowledge_base.EMBED_PASSAGES", 4)
    add(base.store, "a", *(f"lamp {i}" for i in range(10)))
    progress = []
    assert base.embed(lambda done, total: progress.append((done, total)), is_stopped=lambda: bool(progress)) == 4
    assert base.embed(lambda done, total: progress.append((done, total))) == 6
    assert progress == [(4, 10), (4, 6), (6, 6)]
    assert base.encoder.num_texts == 10


def test_another_encoder_has_vectors_of_its_own(base):
    add(base.store, "a", "lamp")
    base.update_lexical()
    base.embed()
    other = open_base(base.folder, WordEncoder("words-2", dimension=16))
    assert (other.status().num_vectors, base.status().num_vectors) == (0, 1)
    assert other.index.search_scope("lamp", 5).mode == "lexical"
    other.embed()
    assert (other.status().num_vectors, base.status().num_vectors) == (1, 1)
    other.close()
