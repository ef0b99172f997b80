"""The dialogue filter: kept records, reasons for dropping the others, and monotonicity of the criteria."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document
from turnwise.synthesis.dialogue_filter import DialogueFilter, FilterCriteria

PATH = Path("scored.jsonl")


def dialogue(relevance=None, *, synthetic=True, **more_scores):
    meta = {"generated": True} if synthetic else {}
    scores = ({} if relevance is None else {"relevance": relevance}) | more_scores
    return Conversation(
        (Message("user", "hi"), Message("assistant", "yes")), meta | ({"scores": scores} if scores else {})
    )


def filter_items(items, **criteria):
    """Indices of the kept items, and the number of dropped ones by reason."""
    dialogue_filter = DialogueFilter(FilterCriteria(**criteria), PATH)
    top = dialogue_filter.find_top(items)
    kept_ids = {id(item) for item in dialogue_filter.filter_records(items, top)}
    return {index for index, item in enumerate(items) if id(item) in kept_ids}, dict(dialogue_filter.num_dropped)


def filter_top(items, fraction):
    """Indices of the kept items."""
    return filter_items(items, top_fraction=fraction, sort_by="relevance")[0]


def test_dialogues_below_a_minimum_are_dropped_with_the_reason():
    indices, num_dropped = filter_items([dialogue(1.0), dialogue(0.4), dialogue(0.5)], min_scores={"relevance": 0.5})
    assert indices == {0, 2}
    assert num_dropped == {"relevance below 0.5": 1}


def test_the_top_fraction_of_synthetic_dialogues_is_kept():
    items = [dialogue(1.0), dialogue(3.0), dialogue(2.0), dialogue(0.0)]
    indices, num_dropped = filter_items(items, top_fraction=0.5, sort_by="relevance")
    assert indices == {1, 2}
    assert num_dropped == {"not in the top 50% by relevance": 2}


def test_human_dialogues_are_kept_unless_score_human_is_set():
    items = [dialogue(0.0, synthetic=False), dialogue(1.0), dialogue(2.0), Document("a text")]
    assert filter_top(items, 0.5) == {0, 2, 3}
    assert filter_items(items, min_scores={"relevance": 0.5}, score_human=True)[0] == {1, 2, 3}


def test_only_keeps_records_of_one_origin():
    items = [dialogue(0.0, synthetic=False), dialogue(1.0), Document("a text")]
    assert filter_items(items, only="human") == ({0, 2}, {"not human": 1})
    assert filter_items(items, only="synthetic") == ({1}, {"not synthetic": 2})


def test_a_dialogue_without_the_score_is_dropped():
    items = [dialogue(1.0), dialogue(novelty=1.0)]
    assert filter_items(items, min_scores={"relevance": 0.0})[1] == {"without relevance": 1}


def test_data_without_scores_is_rejected_with_the_command_that_adds_them():
    with pytest.raises(InvalidData, match=r"turnwise data score scored\.jsonl --out"):
        filter_top([dialogue(), dialogue()], 0.5)


def test_an_unknown_score_is_rejected_with_the_nearest_name():
    with pytest.raises(InvalidData, match="did you mean 'relevance'"):
        filter_items([dialogue(1.0)], min_scores={"relevanc": 0.5})


@pytest.mark.parametrize("fraction", [0, -1, 1.5, float("nan")])
def test_a_top_fraction_out_of_range_is_rejected(fraction):
    with pytest.raises(InvalidParameter, match="'top_fraction' must be greater than 0"):
        FilterCriteria(top_fraction=fraction, sort_by="relevance")


DIALOGUES = st.lists(st.builds(dialogue, st.sampled_from([0.0, 0.5, 1.0, 2.0]), synthetic=st.booleans()), max_size=12)
FRACTIONS = st.floats(0.01, 1)


@given(items=DIALOGUES, minimums=st.tuples(st.floats(-1, 3), st.floats(-1, 3)))
def test_a_higher_minimum_keeps_a_subset(items, minimums):
    low, high = sorted(minimums)
    strict, _ = filter_items(items, min_scores={"relevance": high})
    assert strict <= filter_items(items, min_scores={"relevance": low})[0]


@given(items=DIALOGUES, fractions=st.tuples(FRACTIONS, FRACTIONS))
def test_a_larger_fraction_keeps_a_superset(items, fractions):
    small, large = sorted(fractions)
    assert filter_top(items, small) <= filter_top(items, large)
    assert len(filter_top(items, 1.0)) == len(items)


@given(items=DIALOGUES, fraction=FRACTIONS)
def test_no_dropped_dialogue_scores_higher_than_a_kept_one(items, fraction):
    indices = filter_top(items, fraction)
    scored = {index for index, item in enumerate(items) if item.is_synthetic}
    relevance = {index: items[index].meta["scores"]["relevance"] for index in scored}
    dropped = [relevance[index] for index in scored - indices]
    assert not dropped or max(dropped) <= min(relevance[index] for index in scored & indices)
