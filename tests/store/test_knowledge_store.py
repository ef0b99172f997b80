"""A knowledge base in SQLite: documents appear and disappear in one step."""

import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from knowledge_stand_ins import add, new_document, new_passages
from turnwise.core.errors import InvalidData, InvalidParameter, SaveFailed, Unavailable
from turnwise.core.knowledge import Deletion, NewPassage
from turnwise.store import open_knowledge_store
from turnwise.store.sqlite import knowledge_changes
from turnwise.store.sqlite.knowledge_store import BATCH_PASSAGES


@pytest.fixture
def path(tmp_path):
    return tmp_path / "base" / "knowledge.db"


@pytest.fixture
def store(path):
    opened = open_knowledge_store(f"sqlite:///{path}")
    yield opened
    opened.close()


def count_rows(path, table):
    with sqlite3.connect(path) as connection:
        return connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]


def all_texts(store, scope=""):
    return [
        passage.text
        for document in store.documents(scope, 100)
        for passage in store.document_passages(document.id, scope)
    ]


def test_a_document_keeps_what_it_was_added_with(store):
    document = new_document(
        "guide.pdf", "x", title="Guide", metadata={"language": "en"}, scope="shop", warnings=["Page 2 has no text."]
    )
    added = store.add(document, [NewPassage("Hello.", 3, 9, ("One", "Two"), 4)])
    assert added.change == "added"
    (stored,) = store.documents("shop", 10)
    assert stored == added.document == store.find_document("guide.pdf", "shop")
    assert (stored.title, stored.metadata, list(stored.warnings)) == (
        "Guide", {"language": "en"}, ["Page 2 has no text."]
    )  # fmt: skip
    (passage,) = store.document_passages(stored.id, "shop")
    assert (passage.text, passage.start, passage.end, passage.headings, passage.page) == (
        "Hello.", 3, 9, ("One", "Two"), 4
    )  # fmt: skip
    assert passage.index_text == "Guide\nOne\nTwo\nHello."
    assert store.fetch([passage.id], "shop", {}) == [passage]


def test_the_same_bytes_change_nothing_and_are_not_read(store):
    add(store, "a.txt", "one", "two")
    position = store.position()
    added = store.add(new_document("a.txt", "one\n\ntwo"), (pytest.fail("read") for _ in [1]))
    assert added.change == "unchanged"
    assert store.position() == position


def test_other_metadata_replaces_a_document_of_the_same_bytes(store):
    add(store, "a.txt", "one")
    assert add(store, "a.txt", "one", metadata={"language": "en"}).change == "replaced"
    assert store.find_document("a.txt", "").metadata == {"language": "en"}


@pytest.mark.parametrize("size", [1, BATCH_PASSAGES - 1, BATCH_PASSAGES, 2 * BATCH_PASSAGES + 1])
def test_a_replacement_of_any_size_takes_the_old_passages_away(store, path, size):
    first = add(store, "a.txt", *(f"old {i}" for i in range(size)))
    second = add(store, "a.txt", *(f"new {i}" for i in range(size)))
    assert second.change == "replaced"
    assert second.document.created == first.document.created
    assert all_texts(store) == [f"new {i}" for i in range(size)]
    assert store.fetch(range(1, size + 1), "", {}) == []
    assert count_rows(path, "knowledge_passages") == size
    assert store.deletions_after(0, 10) == [Deletion(1, first.document.id, 1, size)]
    assert store.problems() == []


def test_ids_of_passages_are_never_used_again(store):
    first = add(store, "a.txt", "one", "two").document
    store.delete(first.id, "")
    second = add(store, "a.txt", "three").document
    assert (second.first_passage, second.id > first.id) == (3, True)
    assert store.fetch([1, 2], "", {}) == []


def test_a_document_without_text_is_an_error_and_keeps_the_old_one(store):
    add(store, "a.txt", "one")
    with pytest.raises(InvalidData, match=r"a\.txt has no text"):
        store.add(new_document("a.txt", ""), [])
    assert all_texts(store) == ["one"]


@pytest.mark.parametrize("size", [10, 3 * BATCH_PASSAGES])
def test_a_parser_that_fails_leaves_nothing(store, path, size):
    add(store, "a.txt", "one")

    def failing():
        yield from new_passages(*["text"] * size)
        raise InvalidData("Page 7 is damaged.")

    with pytest.raises(InvalidData, match="Page 7"):
        store.add(new_document("a.txt", "other"), failing())
    assert all_texts(store) == ["one"]
    assert count_rows(path, "knowledge_passages") == 1
    assert count_rows(path, "knowledge_documents") == 1


@pytest.mark.parametrize("size", [1, BATCH_PASSAGES + 1])
def test_text_that_is_not_unicode_leaves_nothing(store, path, size):
    with pytest.raises(InvalidData, match="surrogate"):
        store.add(new_document("a.txt", "x"), new_passages(*["fine"] * (size - 1), "\ud800"))
    assert count_rows(path, "knowledge_passages") == 0


def test_a_staged_document_is_invisible_until_the_end(store):
    seen = []

    def watching():
        for i in range(2 * BATCH_PASSAGES + 10):
            if i % BATCH_PASSAGES == 5:
                seen.append((store.documents("", 10), store.passages_after(0, 10), store.position().last_passage))
            yield NewPassage(f"text {i}", 0, 1)

    store.add(new_document("a.txt", "x"), watching())
    assert seen == [([], [], 0)] * 3
    assert store.position().last_passage == 2 * BATCH_PASSAGES + 10


def test_passages_follow_in_the_order_of_their_publication(store):
    def slow():
        for i in range(BATCH_PASSAGES + 1):
            if i == BATCH_PASSAGES:
                add(store, "quick.txt", "quick")  # is published while the large document is staged
            yield NewPassage("slow", 0, 1)

    store.add(new_document("slow.txt", "x"), slow())
    assert [passage.text for passage in store.passages_after(0, 3)] == ["quick", "slow", "slow"]
    assert [passage.id for passage in store.passages_after(BATCH_PASSAGES, 9)] == [
        BATCH_PASSAGES + 1, BATCH_PASSAGES + 2
    ]  # fmt: skip


def test_pages_of_passages_cover_all_documents_without_deleted_ones(store):
    for number in range(5):
        add(store, f"{number}.txt", *(f"{number}-{i}" for i in range(3)))
    store.delete(store.find_document("2.txt", "").id, "")
    ids, after = [], 0
    while page := store.passages_after(after, 2):
        ids += [passage.id for passage in page]
        after = page[-1].id
    assert ids == [1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15]


def test_a_scope_sees_only_its_documents_even_with_ids_of_others(store):
    mine = add(store, "a.txt", "same text", scope="mine").document
    other = add(store, "a.txt", "same text", scope="other").document
    assert store.find_document("a.txt", "mine").id == mine.id
    assert [document.id for document in store.documents("mine", 10)] == [mine.id]
    assert [passage.id for passage in store.fetch([1, 2], "mine", {})] == [1]
    assert list(store.document_passages(other.id, "mine")) == []
    assert store.delete(other.id, "mine") is False
    assert store.matching_ranges("mine", {}).tolist() == [[1, 1]]
    assert store.fetch([1, 2], "nobody", {}) == []
    assert all_texts(store, "other") == ["same text"]


def test_filters_need_all_properties(store):
    add(store, "a", "one", metadata={"language": "en", "kind": "faq"})
    add(store, "b", "two", "three", metadata={"language": "en"})
    assert store.matching_ranges("", {"language": "en"}).tolist() == [[1, 1], [2, 3]]
    assert store.matching_ranges("", {"language": "en", "kind": "faq"}).tolist() == [[1, 1]]
    assert store.matching_ranges("", {"language": "zh"}).shape == (0, 2)
    assert [passage.id for passage in store.fetch([3, 1], "", {"kind": "faq"})] == [1]


def test_the_rarest_of_several_properties_may_be_any(store):
    for number in range(9):
        add(store, f"{number}", "text", metadata={"language": "en", "year": str(number % 3), "id": str(number)})
    add(store, "other", "text", scope="x", metadata={"language": "en", "year": "1", "id": "4"})
    for filters in ({"language": "en", "year": "1"}, {"year": "1", "language": "en"}):
        assert store.matching_ranges("", filters).tolist() == [[2, 2], [5, 5], [8, 8]]
    assert store.matching_ranges("", {"language": "en", "id": "4", "year": "1"}).tolist() == [[5, 5]]
    assert store.matching_ranges("", {"language": "en", "id": "4", "year": "2"}).tolist() == []


def test_ranges_can_be_those_of_later_documents(store):
    for number in range(4):
        add(store, f"{number}", "one", "two", metadata={"parity": str(number % 2)})
    assert store.matching_ranges("", {"parity": "1"}, after=4).tolist() == [[7, 8]]
    assert store.matching_ranges("", {}, after=2).tolist() == [[3, 4], [5, 6], [7, 8]]


def test_the_log_of_deletions_is_limited(store, path, monkeypatch):
    monkeypatch.setattr(knowledge_changes, "KEPT_DELETIONS", 3)
    assert store.position().last_pruned_deletion == 0
    for number in range(5):
        add(store, "a", f"version {number}")
    assert [deletion.number for deletion in store.deletions_after(0, 10)] == [2, 3, 4]
    assert (store.position().last_pruned_deletion, store.position().last_deletion) == (1, 4)
    store.close()
    reopened = open_knowledge_store(f"sqlite:///{path}")
    reopened.delete(reopened.find_document("a", "").id, "")
    assert (reopened.position().last_pruned_deletion, reopened.position().last_deletion) == (2, 5)
    reopened.close()


def test_counts_and_settings(store):
    add(store, "a", "one", "two", scope="x")
    add(store, "b", "one", scope="x")
    add(store, "a", "three", scope="x")
    (scope,) = store.scopes()
    assert (scope.name, scope.num_documents, scope.num_passages) == ("x", 2, 2)
    assert store.scope_counts("x") == scope
    assert store.scope_counts("y") is None
    store.save_setting("weight", "0.5")
    store.save_setting("weight", "0.7")
    assert (store.setting("weight"), store.setting("other")) == ("0.7", None)


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


def test_compaction_frees_the_space_of_deleted_documents(store, path):
    add(store, "keep", "kept")
    for number in range(20):
        add(store, "a", *(f"{number} {i} " * 50 for i in range(500)))
    store.delete(store.find_document("a", "").id, "")
    store.compact()
    assert path.stat().st_size < 400_000, "the tables of all stores; the deleted texts had 3 MB"
    assert all_texts(store) == ["kept"]


def test_damage_is_reported(store, path):
    add(store, "a", "one", "two")
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM knowledge_passages WHERE number = 1")
        connection.execute("UPDATE knowledge_scopes SET num_documents = 7")
    assert store.problems() == ["The counts of the scope '' are wrong.", "Passages of a are missing."]


def test_a_closed_or_missing_file_is_an_error_not_an_empty_base(store, path):
    add(store, "a", "one")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE knowledge_metadata")
    with pytest.raises(SaveFailed, match="knowledge base could not be read"):
        store.matching_ranges("", {"a": "b"})


def test_a_base_needs_a_file():
    with pytest.raises(InvalidParameter, match="needs a file"):
        open_knowledge_store("sqlite:///:memory:")


def test_ranges_are_integers(store):
    assert store.matching_ranges("", {}).dtype == np.int64


LARGE_TABLES = ("knowledge_documents", "knowledge_passages", "knowledge_metadata", "knowledge_deletions")


def test_no_query_reads_a_whole_table(store):
    """Each query of a search or update uses an index; `problems` may read everything."""
    add(store, "a", "one", metadata={"x": "y"})
    statements = []
    read = store._read

    class Traced:
        def __enter__(self):
            self.context = read()
            connection = self.context.__enter__()
            connection.set_trace_callback(statements.append)
            return connection

        def __exit__(self, *error):
            return self.context.__exit__(*error)

    store._read = Traced
    store._database._connection.set_trace_callback(statements.append)
    document = store.find_document("a", "")
    store.documents("", 5, 0)
    store.passages_after(0, 5)
    store.deletions_after(0, 5)
    store.fetch([1], "", {})
    list(store.document_passages(document.id, ""))
    store.matching_ranges("", {"x": "y"})
    store.matching_ranges("", {"x": "y", "z": "w"})
    store.matching_ranges("", {"x": "y", "z": "w"}, after=1)
    store.position()
    add(store, "a", "two", metadata={"x": "z"})
    store.delete(store.find_document("a", "").id, "")
    queries = [text for text in statements if text.lstrip().startswith(("SELECT", "UPDATE", "DELETE"))]
    assert len(queries) > 15
    with read() as connection:
        for query in queries:
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
            scans = [
                step
                for step in steps
                if step.startswith("SCAN") and not set(step.split()) & {"VIRTUAL", "(subquery-1)"}
            ]
            assert not [step for step in scans if "USING" not in step], (query, steps)
