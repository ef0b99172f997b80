"""A search in a knowledge base sees one scope, and the documents that filters leave."""

import numpy as np
from knowledge_contents import all_texts

from knowledge_stand_ins import add


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


def test_ranges_are_integers(store):
    assert store.matching_ranges("", {}).dtype == np.int64
