"""Filters are read from the store once, and follow its changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_stand_ins import add
from turnwise.retrieval import filter_cache
from turnwise.retrieval.filter_cache import FilterCache
from turnwise.store import open_knowledge_store


@pytest.fixture
def store(tmp_path):
    opened = open_knowledge_store(f"sqlite:///{tmp_path / 'knowledge.db'}")
    yield opened
    opened.close()


class CountedStore:
    """A store that counts its queries for ranges."""

    def __init__(self, store):
        self._store, self.num_queries = store, 0

    def position(self):
        return self._store.position()

    def matching_ranges(self, scope, filters, after=0):
        self.num_queries += 1
        return self._store.matching_ranges(scope, filters, after)


def test_an_unchanged_store_is_read_once(store):
    add(store, "a", "one", "two", metadata={"language": "en"})
    counted = CountedStore(store)
    cache = FilterCache(counted)
    first = cache.ranges("", {"language": "en"})
    assert first.tolist() == [[1, 2]]
    assert cache.ranges("", {"language": "en"}) is first
    assert counted.num_queries == 1


def test_an_added_document_that_does_not_match_leaves_the_array(store):
    add(store, "a", "one", metadata={"language": "en"})
    cache = FilterCache(store)
    first = cache.ranges("", {"language": "en"})
    add(store, "b", "two", metadata={"language": "zh"})
    assert cache.ranges("", {"language": "en"}) is first


def test_few_filters_are_kept(store, monkeypatch):
    monkeypatch.setattr(filter_cache, "MAX_FILTERS", 2)
    add(store, "a", "one", metadata={"x": "1"})
    counted = CountedStore(store)
    cache = FilterCache(counted)
    for value in ("1", "2", "1", "3", "1"):
        cache.ranges("", {"x": value})
    assert counted.num_queries == 3
    cache.ranges("", {"x": "2"})
    assert counted.num_queries == 4


def test_another_store_is_read_anew(store, tmp_path):
    add(store, "a", "one", metadata={"x": "1"})
    counted = CountedStore(store)
    cache = FilterCache(counted)
    cache.ranges("", {"x": "1"})
    other = open_knowledge_store(f"sqlite:///{tmp_path / 'other.db'}")
    add(other, "a", "one", "two", metadata={"x": "1"})
    counted._store = other
    assert cache.ranges("", {"x": "1"}).tolist() == [[1, 2]]
    other.close()


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2", None]), st.sampled_from(["", "s"]), st.booleans())
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_every_living_passage_that_matches_is_in_the_ranges(tmp_path_factory, steps):
    store = open_knowledge_store(f"sqlite:///{tmp_path_factory.mktemp('base') / 'knowledge.db'}")
    cache = FilterCache(store)
    for number, (source, value, scope, is_searched) in enumerate(steps):
        if value is None:
            document = store.find_document(source, scope)
            if document is not None:
                store.delete(document.id, scope)
        else:
            add(store, source, f"{number}", "two", scope=scope, metadata={"x": value})
        if is_searched:
            for name in ("", "s"):
                ranges = cache.ranges(name, {"x": "1"})
                living = {tuple(pair) for pair in store.matching_ranges(name, {"x": "1"}).tolist()}
                assert living <= {tuple(pair) for pair in ranges.tolist()}
                assert (np.diff(ranges[:, 0]) > 0).all()
    store.close()
