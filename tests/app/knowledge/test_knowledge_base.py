"""A knowledge base with its indexes, compared with a simple model, and over many edits."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knowledge_bases import MANY, open_base

from knowledge_stand_ins import add, texts_of

WORDS = ["lamp", "chair", "table"]
STEPS = st.one_of(
    st.tuples(
        st.just("add"), st.sampled_from("ab"), st.sampled_from(["", "x"]),
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    ),
    st.tuples(st.just("delete"), st.sampled_from("ab"), st.sampled_from(["", "x"])),
    st.tuples(st.just("words")),
    st.tuples(st.just("vectors")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("rebuild")),
)  # fmt: skip


@given(steps=st.lists(STEPS, min_size=3, max_size=10))
@settings(max_examples=12)
@pytest.mark.costly
def test_a_search_returns_what_the_model_has(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("base")
    base, model = open_base(folder), {}
    for step in [*steps, ("words",), ("vectors",)]:
        match step:
            case ("add", source, scope, words):
                texts = [f"{word} {source} {i}" for i, word in enumerate(words)]
                expected = "added" if (scope, source) not in model else "replaced"
                change = add(base.store, source, *texts, scope=scope).change
                assert change == ("unchanged" if model.get((scope, source)) == texts else expected)
                model[scope, source] = texts
            case ("delete", source, scope):
                document = base.store.find_document(source, scope)
                assert (document is not None) == ((scope, source) in model)
                if document is not None:
                    assert base.store.delete(document.id, scope)
                    del model[scope, source]
            case ("words",):
                base.update_lexical()
            case ("vectors",):
                base.embed()
            case ("reopen",):  # as after a crash: nothing was closed
                base = open_base(folder)
            case ("rebuild",):
                base.rebuild(vectors=True)
        check_against(base, model)
    base.update_lexical()
    for scope in ("", "x"):
        for word in WORDS:
            outcome = base.index.search_scope(word, MANY, scope, mode="lexical")
            assert sorted(texts_of(outcome.passages)) == sorted(t for t in texts_in(model, scope) if word in t)
        assert base.index.search_scope("lamp", MANY, scope).coverage == 1.0
        dense = base.index.search_scope("lamp", MANY, scope, mode="dense")
        assert sorted(texts_of(dense.passages)) == sorted(texts_in(model, scope))
    assert base.problems() == []


def texts_in(model, scope):
    return [text for (owner, _), texts in model.items() for text in texts if owner == scope]


def check_against(base, model):
    """Whatever the indexes contain, a search returns nothing but what the model has."""
    for scope in ("", "x"):
        texts = texts_in(model, scope)
        if base.is_searchable():
            outcome = base.index.search_scope("lamp chair table", MANY, scope)
            assert set(texts_of(outcome.passages)) <= set(texts)


@pytest.mark.slow
def test_the_disk_grows_little_over_2000_edits(base):
    rng = random.Random(0)
    texts = [[f"lamp {source} {i} " * 40 for i in range(5)] for source in range(100)]
    for source, passages in enumerate(texts):
        add(base.store, str(source), *passages)
    base.update_lexical()
    base.embed()
    base.compact()
    before = disk_usage(base.folder)
    for edit in range(2000):
        source = rng.randrange(100)
        add(base.store, str(source), f"edit {edit}", *texts[source][1:])
        if edit % 50 == 0:
            base.update_lexical()
            base.embed()
    base.update_lexical()
    base.embed()
    base.compact()
    assert disk_usage(base.folder) <= 1.5 * before
    assert base.problems() == []


def disk_usage(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
