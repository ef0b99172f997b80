"""Filtering: who stays, why others fall, and that asking for more never keeps what less left out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document
from turnwise.synthesis.dialogue_filter import DialogueFilter, FilterCriteria

PATH = Path("scored.jsonl")


def row(relevance=None, *, generated=True, **more):
    meta = {"generated": True} if generated else {}
    scores = ({} if relevance is None else {"relevance": relevance}) | more
    return Conversation(
        (Message("user", "hi"), Message("assistant", "yes")), meta | ({"scores": scores} if scores else {})
    )


def sift(items, **wanted):
    """The places that are kept, and why the others fell."""
    sifting = DialogueFilter(FilterCriteria(**wanted), PATH)
    best = sifting.find_best(items)
    kept = {id(item) for item in sifting.filter_records(items, best)}
    return {place for place, item in enumerate(items) if id(item) in kept}, dict(sifting.dropped)


def test_rows_below_the_least_fall_and_it_is_said_why():
    kept, dropped = sift([row(1.0), row(0.4), row(0.5)], least={"relevance": 0.5})
    assert kept == {0, 2}
    assert dropped == {"relevance below 0.5": 1}


def test_the_best_share_of_generated_dialogues_is_kept():
    kept, dropped = sift([row(1.0), row(3.0), row(2.0), row(0.0)], best=("relevance", 0.5))
    assert kept == {1, 2}
    assert dropped == {"not among the best 50% by relevance": 2}


def test_what_people_wrote_stays_unless_it_is_asked_for():
    items = [row(0.0, generated=False), row(1.0), row(2.0), Document("a text")]
    assert sift(items, best=("relevance", 0.5))[0] == {0, 2, 3}
    assert sift(items, least={"relevance": 0.5}, judge_written=True)[0] == {1, 2, 3}


def test_one_kind_may_be_left_out():
    items = [row(0.0, generated=False), row(1.0), Document("a text")]
    assert sift(items, only="written") == ({0, 2}, {"not written": 1})
    assert sift(items, only="generated") == ({1}, {"not generated": 2})


def test_a_row_without_the_score_falls():
    assert sift([row(1.0), row(novelty=1.0)], least={"relevance": 0.0})[1] == {"without relevance": 1}


def test_without_any_scores_the_command_that_gives_them_is_named():
    with pytest.raises(InvalidData, match=r"turnwise data score scored\.jsonl --out"):
        sift([row(), row()], best=("relevance", 0.5))


def test_a_misspelt_score_is_named():
    with pytest.raises(InvalidData, match="did you mean 'relevance'"):
        sift([row(1.0)], least={"relevanc": 0.5})


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(InvalidParameter, match="best"):
        FilterCriteria(best=("relevance", share))


ROWS = st.lists(st.builds(row, st.sampled_from([0.0, 0.5, 1.0, 2.0]), generated=st.booleans()), max_size=12)
SHARES = st.floats(0.01, 1)


@given(items=ROWS, one=st.floats(-1, 3), other=st.floats(-1, 3))
def test_a_higher_floor_keeps_part_of_what_a_lower_one_keeps(items, one, other):
    low, high = sorted([one, other])
    assert sift(items, least={"relevance": high})[0] <= sift(items, least={"relevance": low})[0]


@given(items=ROWS, one=SHARES, other=SHARES)
def test_a_larger_share_keeps_all_that_a_smaller_one_keeps(items, one, other):
    small, large = sorted([one, other])
    assert sift(items, best=("relevance", small))[0] <= sift(items, best=("relevance", large))[0]
    assert len(sift(items, best=("relevance", 1.0))[0]) == len(items)


@given(items=ROWS, share=SHARES)
def test_nothing_kept_is_worse_than_something_that_fell(items, share):
    kept, _ = sift(items, best=("relevance", share))
    judged = {place for place, item in enumerate(items) if item.is_synthetic}
    scores = {place: items[place].meta["scores"]["relevance"] for place in judged}
    lost = [scores[place] for place in judged - kept]
    assert not lost or max(lost) <= min(scores[place] for place in judged & kept)
