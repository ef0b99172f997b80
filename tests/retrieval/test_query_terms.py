"""Words that only make a question weigh less than those that say what it is about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.retrieval.query_terms import FUNCTION_WEIGHT, weighted_terms
from turnwise.retrieval.terms import split_terms


def heavy(query):
    return [term for term, weight in weighted_terms(query).items() if weight == 1]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("How do I return a lamp?", ["return", "lamp"]),
        ("WHY was the Lamp's cord cut", ["lamp", "s", "cord", "cut"]),
        ("what is what", []),
        ("IT support", ["it", "support"]),
        ("台灯怎么退货", ["台灯", "退货"]),
        ("请问iPhone的屏幕是什么", ["iphone", "屏幕"]),
    ],
)
def test_content_words_have_the_full_weight(query, terms):
    assert heavy(query) == terms


def test_bigrams_across_a_function_word_weigh_little():
    weights = weighted_terms("台灯怎么退货")
    assert weights["灯怎"] == weights["怎么"] == weights["么退"] == FUNCTION_WEIGHT


@given(st.text(alphabet=st.one_of(st.sampled_from("how do I 怎么的退货灯lamp's的"), st.characters())))
def test_no_term_is_lost(query):
    assert set(split_terms(query)) <= set(weighted_terms(query))
    assert set(weighted_terms(query).values()) <= {1.0, FUNCTION_WEIGHT}
