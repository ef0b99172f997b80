"""A knowledge base in SQLite: documents appear and disappear in one step."""

import pytest
from knowledge_contents import all_texts, count_rows

from knowledge_stand_ins import add, new_document, new_passages
from turnwise.core.errors import InvalidData
from turnwise.core.knowledge import Deletion, NewPassage
from turnwise.store.sqlite.knowledge_store import BATCH_PASSAGES


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
