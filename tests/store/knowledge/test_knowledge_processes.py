"""Several processes and threads on one knowledge base, also killed ones."""

import subprocess
import sys
import threading

import pytest
from knowledge_contents import all_texts, count_rows

from knowledge_stand_ins import add, new_document, new_passages
from turnwise.core.errors import Unavailable
from turnwise.core.knowledge import NewPassage
from turnwise.store import open_knowledge_store
from turnwise.store.sqlite.knowledge_store import BATCH_PASSAGES


def test_another_connection_sees_a_change_at_once(store, path):
    reader = open_knowledge_store(f"sqlite:///{path}")
    document = add(store, "a", "one").document
    assert all_texts(reader) == ["one"]
    store.delete(document.id, "")
    assert all_texts(reader) == []
    reader.close()


def test_readers_are_not_blocked_while_a_document_is_written(store):
    add(store, "a", "one")
    counts, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            counts.append(len(store.fetch([1], "", {})))

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(5):
        add(store, "b", *(f"{number} {i}" for i in range(300)))
    stop.set()
    thread.join()
    assert set(counts) == {1}


KILLED = """
import os, sys
from turnwise.core.knowledge import NewDocument, NewPassage
from turnwise.store import open_knowledge_store
from turnwise.store.sqlite.knowledge_store import BATCH_PASSAGES

def passages():
    for i in range(3 * BATCH_PASSAGES):
        if i == 2 * BATCH_PASSAGES + 1:
            os.kill(os.getpid(), 9)
        yield NewPassage("staged", 0, 6)

open_knowledge_store(f"sqlite:///{sys.argv[1]}").add(NewDocument("a.txt", "0" * 64), passages())
"""


def test_what_a_killed_process_has_staged_is_removed_at_the_next_start(path):
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == -9
    assert count_rows(path, "knowledge_passages") == 2 * BATCH_PASSAGES
    store = open_knowledge_store(f"sqlite:///{path}")
    assert store.documents("", 10) == []
    assert count_rows(path, "knowledge_passages") == 0
    assert count_rows(path, "knowledge_documents") == 0
    store.close()


def test_a_second_process_leaves_what_a_living_one_is_staging(store, path):
    def opening():
        for i in range(BATCH_PASSAGES + 1):
            if i == BATCH_PASSAGES:
                open_knowledge_store(f"sqlite:///{path}").close()
            yield NewPassage("text", 0, 4)

    store.add(new_document("a.txt", "x"), opening())
    assert len(all_texts(store)) == BATCH_PASSAGES + 1


def test_a_second_large_document_waits_for_the_first(store, path, monkeypatch):
    monkeypatch.setattr("turnwise.store.sqlite.knowledge_store.LOCK_SECONDS", 0.01)
    second = open_knowledge_store(f"sqlite:///{path}")
    second._staging_file.seconds = 0.01
    large = new_passages(*["text"] * BATCH_PASSAGES)

    def adding():
        yield from large
        with pytest.raises(Unavailable, match="Another large document"):
            second.add(new_document("b.txt", "y"), large)

    store.add(new_document("a.txt", "x"), adding())
    assert second.add(new_document("b.txt", "y"), large).change == "added"
    second.close()
