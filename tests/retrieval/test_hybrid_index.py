"""Search in a knowledge base: the store has the last word, whatever the indexes contain."""

import pytest

from knowledge_stand_ins import WordEncoder, add, texts_of
from turnwise.core.errors import InvalidParameter, Unavailable
from turnwise.core.retrieval import PassageLocation
from turnwise.retrieval import hybrid_index as hybrid_index_module
from turnwise.retrieval.dense_index import DenseIndex
from turnwise.retrieval.dense_writer import dense_writer
from turnwise.retrieval.fusion_tuning import JudgedQuery, tune
from turnwise.retrieval.hybrid_index import DenseSearch, HybridIndex
from turnwise.retrieval.lexical_index import LexicalIndex
from turnwise.retrieval.lexical_writer import lexical_writer
from turnwise.store import open_knowledge_store


class Base:
    """A store with both indexes."""

    def __init__(self, folder):
        self.store = open_knowledge_store(f"sqlite:///{folder / 'knowledge.db'}")
        self.encoder = WordEncoder()
        self.folder = folder
        self.lexical = LexicalIndex(folder / "lexical")
        self.dense = DenseIndex(folder / "dense" / "x", self.encoder.fingerprint)
        self.index = HybridIndex(self.store, self.lexical, DenseSearch(self.dense, self.encoder))

    def update(self, max_passages=1000, embed=True):
        with lexical_writer(self.folder / "lexical", self.store, 1.0) as writer:
            writer.update()
        if embed:
            with dense_writer(self.folder / "dense" / "x", self.encoder, 1.0) as writer:
                writer.update(self.store, self.encoder, max_passages)


@pytest.fixture
def base(tmp_path):
    opened = Base(tmp_path)
    yield opened
    opened.store.close()


def test_results_say_where_a_passage_stands(base):
    document = add(base.store, "a.txt", "the lamp is broken", metadata={"language": "en"}).document
    base.update()
    (result,) = base.index.search("lamp", 5)
    assert result.passage.source == "a.txt"
    assert result.passage.metadata == {"language": "en"}
    assert result.passage.location == PassageLocation(document.sha256, 0, 18)


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_a_deleted_document_is_gone_when_the_call_returns(base, mode):
    document = add(base.store, "a", "lamp one", "lamp two").document
    add(base.store, "b", "lamp three")
    base.update()
    base.store.delete(document.id, "")
    outcome = base.index.search_scope("lamp one", 5, mode=mode)  # no index was updated
    assert (texts_of(outcome.passages), outcome.mode) == (["lamp three"], mode)


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_a_replaced_document_is_never_returned_with_its_old_text(base, mode):
    add(base.store, "a", "lamp old")
    base.update()
    add(base.store, "a", "lamp new")
    assert texts_of(base.index.search_scope("lamp", 5, mode=mode).passages) == []
    base.update()
    assert texts_of(base.index.search_scope("lamp", 5, mode=mode).passages) == ["lamp new"]


def test_many_deleted_candidates_do_not_hide_the_rest(base, monkeypatch):
    monkeypatch.setattr(hybrid_index_module, "NUM_CANDIDATES", 4)
    document = add(base.store, "a", *["lamp lamp lamp"] * 50).document
    add(base.store, "b", *(f"lamp and much more text {i}" for i in range(3)))
    base.update()
    base.store.delete(document.id, "")
    assert len(base.index.search("lamp", 3)) == 3


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_scopes_and_filters_hold_in_every_mode(base, mode):
    for scope in ("one", "two"):
        for language in ("en", "zh"):
            add(base.store, f"{scope}-{language}", "the same lamp", scope=scope, metadata={"language": language})
    base.update()

    def sources(scope, **filters):
        passages = base.index.search_scope("the same lamp", 10, scope, filters, mode).passages
        return sorted(result.passage.source for result in passages)

    assert sources("one") == ["one-en", "one-zh"]
    assert sources("two", language="zh") == ["two-zh"]
    assert sources("two", language="fr") == []
    assert sources("three") == []
    assert base.index.search("the same lamp", 10) == ()  # the scope "" is one of them, not all


def test_a_retriever_is_bound_to_its_scope(base):
    add(base.store, "a", "lamp", scope="one")
    add(base.store, "b", "lamp", scope="two", metadata={"kind": "faq"})
    base.update()
    assert [r.passage.source for r in base.index.for_scope("one").search("lamp", 5)] == ["a"]
    assert [r.passage.source for r in base.index.for_scope("two", {"kind": "faq"}).search("lamp", 5)] == ["b"]
    assert list(base.index.for_scope("two", {"kind": "x"}).search("lamp", 5)) == []


def test_search_is_lexical_and_says_so_until_most_passages_have_a_vector(base):
    add(base.store, "a", *(f"lamp {i}" for i in range(10)))
    base.update(embed=False)
    outcome = base.index.search_scope("lamp", 3)
    assert (outcome.mode, outcome.coverage, len(outcome.passages)) == ("lexical", 0.0, 3)
    base.update(max_passages=8)
    assert (base.index.search_scope("lamp", 3).mode, base.index.search_scope("lamp", 3).coverage) == ("lexical", 0.8)
    base.update(max_passages=1)
    outcome = base.index.search_scope("lamp 9", 10)
    assert (outcome.mode, outcome.coverage) == ("hybrid", 0.9)
    assert "lamp 9" in texts_of(outcome.passages)  # it has no vector yet


def test_a_query_without_common_words_is_found_by_its_vector(base):
    add(base.store, "a", "lamp chair", "table")
    base.update()
    assert texts_of(base.index.search("lamp", 1)) == ["lamp chair"]
    assert len(base.index.search("elephant", 5)) == 2


def test_a_missing_index_is_an_error_that_says_what_to_do(base):
    add(base.store, "a", "lamp")
    with pytest.raises(Unavailable, match="turnwise knowledge rebuild"):
        base.index.search("lamp", 5)


@pytest.mark.parametrize("k", [0, -1, 10_000])
def test_the_number_of_results_is_limited(base, k):
    with pytest.raises(InvalidParameter, match="1 to 1,000"):
        base.index.search("lamp", k)


def test_dense_search_needs_an_encoder(base):
    add(base.store, "a", "lamp")
    base.update()
    index = HybridIndex(base.store, base.lexical)
    assert index.search_scope("lamp", 5).mode == "lexical"
    with pytest.raises(InvalidParameter, match="needs an encoder"):
        index.search_scope("lamp", 5, mode="dense")


def test_a_reranker_orders_the_best_passages(base):
    class Shortest:
        def scores(self, query, texts):
            return [-len(text) for text in texts]

    add(base.store, "a", "lamp lamp with words", "lamp", "lamp lamp")
    base.update()
    index = HybridIndex(base.store, base.lexical, reranker=Shortest())
    results = index.search("lamp", 2)
    assert texts_of(results) == ["lamp", "lamp lamp"]
    assert [result.score for result in results] == [-4.0, -9.0]


def test_the_tuned_weight_is_stored_and_used(base):
    add(base.store, "a", "red lamp", "lamp lamp lamp", "blue chair")
    base.update()
    counts = base.store.scope_counts("")
    result = tune(base.index, counts, [JudgedQuery("lamp", frozenset({2})), JudgedQuery("red lamp", frozenset({1}))])
    assert result.ndcg[result.weight] == max(result.ndcg.values())
    assert set(result.quality) == {"lexical", "dense", "hybrid"}
    assert base.index.weight("hybrid") == hybrid_index_module.DEFAULT_WEIGHT
    base.index.save_weight(0.35)
    assert base.index.weight("hybrid") == 0.35
    other = HybridIndex(base.store, base.lexical, DenseSearch(base.dense, WordEncoder("words-2")))
    assert other.weight("hybrid") == hybrid_index_module.DEFAULT_WEIGHT  # it belongs to the encoder
    with pytest.raises(InvalidParameter, match="at least one question"):
        tune(base.index, counts, [])
