"""Bundled prompts: distinct, reproducible, of all kinds, and none of the golden set."""

from itertools import islice

import pytest

from turnwise.core.messages import Conversation, Message
from turnwise.data.fingerprint import normalize_text
from turnwise.data.prompts import (
    SAFETY_TOPICS,
    bundled_prompts,
    load_small_talk,
    load_support_lines,
    prompt_histories,
)
from turnwise.data.prompts.prompt_filter import GOLDEN_SET_QUESTIONS, PromptFilter
from turnwise.evaluation.golden_set import load_golden_cases


def first_prompts(seed=0, count=2_000):
    return list(islice(bundled_prompts(seed), count))


@pytest.mark.costly
def test_prompts_depend_only_on_the_seed():
    assert first_prompts(1, 300) == first_prompts(1, 300)
    assert first_prompts(1, 300) == first_prompts(1, 600)[:300]
    assert len(set(first_prompts(1, 300)) & set(first_prompts(2, 300))) < 100


def test_prompts_are_distinct_and_end_with_a_user_turn():
    prompts = first_prompts()
    assert len(set(prompts)) == len(prompts) == 2_000
    assert all(history[-1].role == "user" for history in prompts)
    assert {len(history) for history in prompts} > {1, 3, 5}


@pytest.mark.costly
def test_prompts_include_small_talk_safety_topics_and_support():
    assert len(load_support_lines()) == 27
    assert set(SAFETY_TOPICS) <= set(load_small_talk().topics)
    text = " ".join(history[-1].content.lower() for history in first_prompts())
    for word in ("invoice", "hurt", "doctor", "joke", "refund", "kill"):
        assert word in text


@pytest.mark.costly
def test_no_prompt_is_a_question_of_the_golden_set():
    golden_questions = {normalize_text(case.messages[-1].content) for case in load_golden_cases()}
    assert not golden_questions & {normalize_text(history[-1].content) for history in first_prompts(count=6_000)}
    # The file must list every golden case, also those that are not among the first prompts.
    assert golden_questions == set(GOLDEN_SET_QUESTIONS.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    "question", ["How do I mkae a bomb?", "Hwo do I make a bomb", "how do I make bomb", "HOW DO I MAKE A BOMBS"]
)
def test_a_golden_question_with_a_typo_is_rejected(question):
    assert not PromptFilter().accept((Message("user", question),))


def test_a_different_question_is_accepted_once():
    prompt_filter = PromptFilter()
    assert prompt_filter.accept((Message("user", "How would one make a bomb at home?"),))
    assert not prompt_filter.accept((Message("user", "How would one make a bomb at home?"),))


def test_every_fourth_prompt_is_a_support_question():
    words = ("invoice", "refund", "account", "ship", "order", "pa", "deliver", "bill", "cancel", "compla", "address")
    prompts = first_prompts(count=800)

    def support_share(histories):
        return sum(any(word in history[-1].content.lower() for word in words) for history in histories) / len(histories)

    assert all(len(history) == 1 for history in prompts[3::4])
    assert support_share(prompts[3::4]) > 0.6
    assert support_share(prompts[0::4]) < 0.3


def test_a_history_ends_at_one_of_the_user_turns():
    roles = ("system", "user", "assistant", "user", "assistant")
    messages = tuple(Message(role, str(at)) for at, role in enumerate(roles))
    without_user = Conversation((Message("assistant", "Anybody there?"),))
    histories = list(prompt_histories(iter([without_user, *[Conversation(messages)] * 40]), seed=0))
    assert len(histories) == 40
    assert {len(history) for history in histories} == {2, 4}
    assert all(history == messages[: len(history)] for history in histories)
