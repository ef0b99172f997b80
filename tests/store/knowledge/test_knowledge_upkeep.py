"""Upkeep of a knowledge base: counts, settings, the log of deletions, compaction and damage."""

import sqlite3

import pytest
from knowledge_contents import all_texts

from knowledge_stand_ins import add
from turnwise.core.errors import InvalidParameter, SaveFailed
from turnwise.store import open_knowledge_store
from turnwise.store.sqlite import knowledge_changes


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
