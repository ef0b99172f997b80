"""The lexical index follows the store and takes queries as words only."""

import json
import math
import shutil
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_stand_ins import add
from turnwise.core.errors import Unavailable
from turnwise.core.knowledge import ScopeCounts
from turnwise.retrieval import lexical_writer as lexical_writer_module
from turnwise.retrieval.index_cursor import IndexDamaged
from turnwise.retrieval.lexical_index import LexicalIndex
from turnwise.retrieval.lexical_writer import lexical_writer
from turnwise.store import open_knowledge_store
from turnwise.store.sqlite import knowledge_changes


@pytest.fixture
def store(tmp_path):
    opened = open_knowledge_store(f"sqlite:///{tmp_path / 'knowledge.db'}")
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lexical"


def update(folder, store):
    with lexical_writer(folder, store, 1.0) as writer:
        return writer.update()


def search(index, store, query, k=10, scope="", **filters):
    counts = store.scope_counts(scope) or ScopeCounts(99, scope, 0, 0)
    return index.search(query, k, counts, filters).ids_K.tolist()


def test_passages_are_ranked_by_the_words_they_share(store, folder):
    add(store, "a", "the lamp is broken", "the table is fine", "lamp, lamp and broken glass")
    update(folder, store)
    index = LexicalIndex(folder)
    assert search(index, store, "broken lamps") == [3, 1]
    assert search(index, store, "fine lamp") == [2, 3, 1]
    assert search(index, store, "elephant") == []
    assert search(index, store, "fine lamp", k=1) == [2]


def test_scores_are_bm25_with_the_frequencies_of_the_scope(store, folder):
    add(store, "a", "lamp one", "lamp two", scope="small")
    for number in range(5):
        add(store, f"{number}", *["table chair"] * 20, scope="large")
    update(folder, store)
    ranking = LexicalIndex(folder).search("lamp one", 10, store.scope_counts("small"), {})
    # All texts have two words, so the length has no effect, and tf · (k1 + 1) / (tf + k1) is 1 for one occurrence.
    idf = {frequency: math.log(1 + (2 - frequency + 0.5) / (frequency + 0.5)) for frequency in (1, 2)}
    assert ranking.ids_K.tolist() == [1, 2]
    assert ranking.scores_K == pytest.approx([idf[1] + idf[2], idf[2]], rel=0.01)  # the entry of the cursor counts too


def test_headings_and_titles_are_searched(store, folder):
    add(store, "a", "thirty days", title="Return policy")
    update(folder, store)
    assert search(LexicalIndex(folder), store, "policies") == [1]


def test_chinese_is_found_by_words_and_by_parts_of_them(store, folder):
    add(store, "a", "我来到北京清华大学", "今天天气很好")
    update(folder, store)
    index = LexicalIndex(folder)
    assert search(index, store, "清华大学") == [1]
    assert search(index, store, "华大") == [1]
    assert search(index, store, "天气怎么样") == [2]


HOSTILE = [
    '"', "a:b", "terms:lamp", "scope:2 OR lamp", "lamp AND NOT chair", "[a TO z]", "lamp*", "lamp~2", "(((", "\\", "^5",
    "+lamp -chair", "/.*/", "\0lamp", "1:lamp", "cursor", "a" * 100_000, "lamp " * 50_000, "🪔", "\u202elamp", "%s{0}",
]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE)
def test_no_character_of_a_query_is_an_operator(store, folder, query):
    add(store, "a", "lamp", "chair")
    add(store, "a", "lamp", "chair", scope="other")
    update(folder, store)
    expected = [i for i, word in ((1, "lamp"), (2, "chair")) if word in query.lower()]
    assert sorted(search(LexicalIndex(folder), store, query)) == expected


def test_a_scope_is_never_left(store, folder):
    add(store, "a", "secret lamp", scope="one", metadata={"k": "v"})
    add(store, "a", "secret lamp", scope="two", metadata={"k": "v"})
    update(folder, store)
    index = LexicalIndex(folder)
    assert search(index, store, "secret lamp", scope="one") == [1]
    assert search(index, store, "secret lamp", scope="two") == [2]
    two = store.scope_counts("two")
    for query in ("1:secret", "1:lamp secret"):
        assert 1 not in index.search(query, 10, two, {}).ids_K
    assert index.search("secret", 10, two, {"k": "v"}).ids_K.tolist() == [2]
    assert search(index, store, "secret", scope="three") == []


def test_filters(store, folder):
    add(store, "a", "lamp", metadata={"language": "en", "kind": "faq"})
    add(store, "b", "lamp", metadata={"language": "en", "kind": "x" * 100_000})
    update(folder, store)
    index = LexicalIndex(folder)
    assert search(index, store, "lamp", language="en") == [1, 2]
    assert search(index, store, "lamp", language="en", kind="faq") == [1]
    assert search(index, store, "lamp", kind="x" * 100_000) == [2]
    assert search(index, store, "lamp", language="EN") == []
    assert search(index, store, "chair", language="en") == []


def test_changes_are_seen_by_an_open_reader(store, folder):
    document = add(store, "a", "lamp").document
    update(folder, store)
    index = LexicalIndex(folder)
    assert search(index, store, "lamp") == [1]
    store.delete(document.id, "")
    add(store, "b", "lamp and chair")
    assert search(index, store, "lamp") == [1]  # not yet: the store has the last word (test_hybrid_index.py)
    assert update(folder, store) is True
    assert search(index, store, "lamp") == [2]
    assert update(folder, store) is False


def test_a_reader_follows_a_rebuilt_index(store, folder):
    add(store, "a", "lamp")
    update(folder, store)
    index = LexicalIndex(folder)
    assert search(index, store, "lamp") == [1]
    add(store, "b", "lamp")
    with lexical_writer(folder, store, 1.0) as writer:
        writer.rebuild()
    assert search(index, store, "lamp") == [1, 2]


def test_a_writer_that_stays_open_adds_and_deletes(store, folder):
    index = LexicalIndex(folder)
    with lexical_writer(folder, store, 1.0) as writer:
        for number in range(12):  # more than tantivy merges at once
            document = add(store, "a", f"lamp {number}").document
            writer.update()
            assert search(index, store, "lamp") == [document.first_passage]


def test_one_writer_at_a_time(store, folder):
    with lexical_writer(folder, store, 1.0), pytest.raises(Unavailable), lexical_writer(folder, store, 0.0):
        pass


def test_a_missing_index_is_an_error_and_is_built(store, folder):
    add(store, "a", "lamp")
    index = LexicalIndex(folder)
    with pytest.raises(IndexDamaged):
        search(index, store, "lamp")
    update(folder, store)
    assert search(index, store, "lamp") == [1]


def test_a_list_of_deletions_that_was_never_committed_does_not_stop_the_next_writer(store, folder):
    """A process that is killed within a commit leaves one."""
    document = add(store, "a", "one lamp").document
    update(folder, store)
    meta = json.loads((folder / "meta.json").read_text())
    segment = meta["segments"][0]["segment_id"].replace("-", "")
    leftovers = [folder / f"{segment}.{meta['opstamp'] + number}.del" for number in range(1, 40)]
    for path in leftovers:
        path.write_bytes(b"half")
    store.delete(document.id, "")
    add(store, "b", "two lamps")
    assert update(folder, store) is True
    assert [path for path in leftovers if path.exists() and path.read_bytes() == b"half"] == []
    assert search(LexicalIndex(folder), store, "lamp") == [2]


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """The folder of an index, the number of its scope, and its only answer."""
    folder = tmp_path_factory.mktemp("intact") / "lexical"
    store = open_knowledge_store(f"sqlite:///{folder.parent / 'knowledge.db'}")
    add(store, "a", *(f"lamp {number}" for number in range(50)))
    update(folder, store)
    counts = store.scope_counts("")
    store.close()
    return folder, counts


@given(
    suffix=st.sampled_from([".idx", ".term", ".store", ".fast", ".fieldnorm"]),
    kind=st.sampled_from(["flip", "cut", "delete"]),
    position=st.integers(0, 10**6),
)
@settings(max_examples=30)
def test_a_damaged_file_is_never_served(tmp_path_factory, intact, suffix, kind, position):
    folder = tmp_path_factory.mktemp("damaged") / "lexical"
    shutil.copytree(intact[0], folder)
    path = next(path for path in folder.iterdir() if path.suffix == suffix)
    content = bytearray(path.read_bytes())
    if kind == "delete":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[: position % len(content)])
    else:
        content[position % len(content)] ^= 1 << position % 8
        path.write_bytes(content)
    try:  # some bytes of the footer have no meaning
        ranking = LexicalIndex(folder).search("lamp", 100, intact[1], {})
    except IndexDamaged:
        return
    assert kind == "flip"
    assert ranking.ids_K.tolist() == list(range(1, 51))


def test_a_damaged_index_is_rebuilt(store, folder):
    add(store, "a", "lamp")
    update(folder, store)
    next(folder.glob("*.idx")).write_bytes(b"damaged")
    update(folder, store)
    assert search(LexicalIndex(folder), store, "lamp") == [1]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff"])
def test_a_damaged_list_of_files_is_rebuilt(store, folder, content):
    add(store, "a", "lamp")
    update(folder, store)
    (folder / "meta.json").write_bytes(content)
    with pytest.raises(IndexDamaged):
        search(LexicalIndex(folder), store, "lamp")
    update(folder, store)
    assert search(LexicalIndex(folder), store, "lamp") == [1]


def test_an_index_of_other_terms_is_rebuilt(store, folder, monkeypatch):
    add(store, "a", "lamp")
    monkeypatch.setattr(lexical_writer_module, "VERSION", 1)
    update(folder, store)
    monkeypatch.undo()
    with pytest.raises(IndexDamaged, match="another version"):
        search(LexicalIndex(folder), store, "lamp")
    update(folder, store)
    assert search(LexicalIndex(folder), store, "lamp") == [1]


def test_an_index_of_another_store_is_rebuilt(store, folder, tmp_path):
    add(store, "a", "lamp", "chair")
    update(folder, store)
    restored = open_knowledge_store(f"sqlite:///{tmp_path / 'restored.db'}")
    add(restored, "b", "chair")
    update(folder, restored)
    assert search(LexicalIndex(folder), restored, "lamp") == []
    assert search(LexicalIndex(folder), restored, "chair") == [1]
    restored.close()


def test_an_index_behind_the_log_of_deletions_is_rebuilt(store, folder, monkeypatch):
    monkeypatch.setattr(knowledge_changes, "KEPT_DELETIONS", 2)
    documents = [add(store, f"{i}", f"lamp {i}").document for i in range(6)]
    update(folder, store)
    for document in documents[:5]:
        store.delete(document.id, "")
    update(folder, store)
    index = LexicalIndex(folder)
    assert search(index, store, "lamp") == [6]
    assert index.cursor.is_at(store.position())


def test_commits_of_any_size_give_the_same_index(store, folder, monkeypatch):
    monkeypatch.setattr(lexical_writer_module, "READ_PASSAGES", 3)
    monkeypatch.setattr(lexical_writer_module, "COMMIT_PASSAGES", 5)
    monkeypatch.setattr(lexical_writer_module, "READ_DELETIONS", 2)
    documents = [add(store, f"{number}", "lamp", "chair").document for number in range(11)]
    for document in documents[::2]:
        store.delete(document.id, "")
    progress = []
    with lexical_writer(folder, store, 1.0) as writer:
        writer.update(lambda done, total: progress.append((done, total)))
    assert search(LexicalIndex(folder), store, "lamp", k=50) == [3, 7, 11, 15, 19]
    assert progress[-1] == (20, 22)
    assert progress == sorted(progress)


@pytest.mark.costly
def test_readers_of_one_index_run_beside_its_writer(store, folder):
    add(store, "a", "lamp zero")
    update(folder, store)
    index, errors, stop = LexicalIndex(folder), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                assert 1 in search(index, store, "lamp", k=100)
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    with lexical_writer(folder, store, 1.0) as writer:
        for number in range(15):
            add(store, f"{number}", f"lamp {number}")
            writer.update()
        writer.rebuild()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_an_index_with_many_deleted_entries_asks_for_compaction(store, folder):
    with lexical_writer(folder, store, 1.0) as writer:
        add(store, "a", *["lamp"] * 700)
        add(store, "b", *["chair"] * 500)
        writer.update()
        assert not writer.needs_compaction()
        store.delete(store.find_document("a", "").id, "")
        writer.update()
        assert writer.needs_compaction()
        writer.rebuild()
        assert not writer.needs_compaction()
    assert search(LexicalIndex(folder), store, "lamp") == []
