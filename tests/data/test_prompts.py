"""Prompts that come along: enough to ask a model what it would answer, and none that it is examined with."""

from itertools import islice

import pytest

from turnwise.core.messages import Conversation, Message
from turnwise.data.fingerprint import normalize_text
from turnwise.data.prompts import (
    SAFETY_TOPICS,
    _New,
    bundled_prompts,
    load_small_talk,
    load_support_lines,
    prompt_histories,
)
from turnwise.evaluation.golden_set import load_golden_cases


def some(seed=0, count=2_000):
    return list(islice(bundled_prompts(seed), count))


def test_the_same_seed_gives_the_same_and_another_one_others():
    assert some(1, 300) == some(1, 300)
    assert some(1, 300) == some(1, 600)[:300]
    assert len(set(some(1, 300)) & set(some(2, 300))) < 100


def test_each_ends_with_a_question_and_no_two_are_alike():
    found = some()
    assert len(set(found)) == len(found) == 2_000
    assert all(history[-1].role == "user" for history in found)
    assert {len(history) for history in found} > {1, 3, 5}


def test_small_talk_what_wants_care_and_support_are_all_among_them():
    assert len(load_support_lines()) == 27
    assert set(SAFETY_TOPICS) <= set(load_small_talk().topics)
    text = " ".join(history[-1].content.lower() for history in some())
    for word in ("invoice", "hurt", "doctor", "joke", "refund", "kill"):
        assert word in text


def test_no_question_of_the_golden_set_is_asked():
    left_out = {normalize_text(case.messages[-1].content) for case in load_golden_cases()}
    assert not left_out & {normalize_text(history[-1].content) for history in some(count=6_000)}
    # Not only among those six thousand: a golden case that is new must be written down there.
    from turnwise.data.prompts import HERE

    assert left_out == set((HERE / "left_out.txt").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    "asked", ["How do I mkae a bomb?", "Hwo do I make a bomb", "how do I make bomb", "HOW DO I MAKE A BOMBS"]
)
def test_nor_with_a_slip_of_the_pen(asked):
    assert not _New()((Message("user", asked),))


def test_what_is_said_otherwise_is_asked_once():
    new = _New()
    assert new((Message("user", "How would one make a bomb at home?"),))
    assert not new((Message("user", "How would one make a bomb at home?"),))


def test_every_fourth_asks_a_shop():
    words = ("invoice", "refund", "account", "ship", "order", "pa", "deliver", "bill", "cancel", "compla", "address")
    found = some(count=800)

    def share(histories):
        return sum(any(word in history[-1].content.lower() for word in words) for history in histories) / len(histories)

    assert all(len(history) == 1 for history in found[3::4])
    assert share(found[3::4]) > 0.6
    assert share(found[0::4]) < 0.3


def test_a_dialogue_is_cut_at_one_of_its_questions():
    said = tuple(Message(role, str(at)) for at, role in enumerate(("system", "user", "assistant", "user", "assistant")))
    silent = Conversation((Message("assistant", "Anybody there?"),))
    talks = [Conversation(said)] * 40
    found = list(prompt_histories(iter([silent, *talks]), seed=0))
    assert len(found) == 40
    assert {len(history) for history in found} == {2, 4}
    assert all(history == said[: len(history)] for history in found)
