"""Bundled prompts: distinct, reproducible, of all kinds, and none of the golden set."""

import re
from itertools import count, islice, repeat

import pytest

from turnwise.core.messages import Conversation, Message
from turnwise.data.fingerprint import normalize_text
from turnwise.data.prompts import (
    LINE_KINDS,
    ROTATION,
    SAFETY_TOPICS,
    bundled_prompts,
    load_small_talk,
    load_support_lines,
    prompt_histories,
    prompts_of_kind,
)
from turnwise.data.prompts.prompt_filter import GOLDEN_SET_QUESTIONS, PromptFilter
from turnwise.evaluation.golden_set import load_golden_cases


def first_prompts(seed=0, count=2_000):
    return list(islice(bundled_prompts(seed), count))


def has_chinese(text):
    return re.search("[\u4e00-\u9fff]", text) is not None


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


@pytest.mark.costly
def test_the_kinds_take_turns(monkeypatch):
    monkeypatch.setattr("turnwise.data.prompts.HURRIED_SHARE", 0)
    prompts = first_prompts(count=400)
    for kind in LINE_KINDS:
        at = ROTATION.index(kind)
        assert set(prompts[at :: len(ROTATION)]) <= set(islice(prompts_of_kind(kind, 0), 200))
        assert not set(prompts[at + 1 :: len(ROTATION)]) & set(islice(prompts_of_kind(kind, 0), 200))


@pytest.mark.costly
def test_the_first_prompts_are_of_all_kinds():
    """Every round of the rotation has exactly one Chinese prompt."""
    assert set(ROTATION) == {"small_talk", "safety", *LINE_KINDS}
    prompts = first_prompts(seed=3, count=200)
    for start in range(0, 200, len(ROTATION)):
        assert sum(has_chinese(history[-1].content) for history in prompts[start : start + len(ROTATION)]) == 1


def test_an_exhausted_kind_is_left_out(monkeypatch):
    one = (Message("user", "A prompt that occurs once"),)
    sources = {"small_talk": lambda: ((Message("user", f"prompt number {n}"),) for n in count())}
    monkeypatch.setattr("turnwise.data.prompts.HURRIED_SHARE", 0)
    monkeypatch.setattr("turnwise.data.prompts.MAX_REJECTED", 50)
    monkeypatch.setattr(
        "turnwise.data.prompts.prompts_of_kind", lambda kind, seed: sources.get(kind, lambda: repeat(one))()
    )
    texts = [history[-1].content for history in islice(bundled_prompts(0), 6)]
    assert texts == ["prompt number 0", one[0].content, *(f"prompt number {n}" for n in range(1, 5))]


@pytest.mark.costly
@pytest.mark.parametrize("kind", LINE_KINDS)
def test_each_kind_has_enough_distinct_prompts(kind):
    """Prints their number: `pytest -s -k enough_distinct tests/data/test_prompts.py`."""
    prompt_filter = PromptFilter()
    sampled = list(islice(prompts_of_kind(kind, 0), 6_000))
    accepted = [history for history in sampled if prompt_filter.accept(history)]
    is_golden = [prompt_filter.is_golden_question(history[-1].content) for history in set(sampled)]
    print(f"{kind}: {len(accepted)} distinct prompts, {sum(is_golden)} more are in the golden set")
    assert len(accepted) >= 500
    assert sum(is_golden) < 0.05 * len(is_golden)


@pytest.mark.costly
@pytest.mark.parametrize("kind", LINE_KINDS)
def test_prompts_are_well_formed(kind):
    """Roles alternate after an optional system message, and no alternative leaves a bracket or spaces at an end."""
    for history in islice(prompts_of_kind(kind, 1), 3_000):
        roles = [message.role for message in history]
        assert roles[roles[0] == "system" :] == (["user", "assistant"] * 3)[: len(roles) - (roles[0] == "system")]
        assert roles[-1] == "user"
        for message in history:
            assert message.content == message.content.strip() != ""
            assert not set("[]|") & set(message.content)


def test_histories_with_system_messages_and_earlier_turns_are_included():
    histories = {kind: list(islice(prompts_of_kind(kind, 2), 400)) for kind in LINE_KINDS}
    for kind in ("instructions", "chinese", "boundaries"):
        assert any(history[0].role == "system" for history in histories[kind])
    for kind in ("instructions", "chinese", "boundaries", "knowledge"):
        assert any(len(history) >= 3 and history[0].role == "user" for history in histories[kind])
    assert any(len(history) == 5 for history in histories["knowledge"])


@pytest.mark.costly
def test_long_questions_are_not_hurried():
    """A pasted text has no typos and keeps its capitals."""
    prompts = [history for history in first_prompts() if len(history[-1].content) > 100]
    assert len(prompts) > 20
    assert not any(history[-1].content.islower() for history in prompts)


def test_a_history_ends_at_one_of_the_user_turns():
    roles = ("system", "user", "assistant", "user", "assistant")
    messages = tuple(Message(role, str(at)) for at, role in enumerate(roles))
    without_user = Conversation((Message("assistant", "Anybody there?"),))
    histories = list(prompt_histories(iter([without_user, *[Conversation(messages)] * 40]), seed=0))
    assert len(histories) == 40
    assert {len(history) for history in histories} == {2, 4}
    assert all(history == messages[: len(history)] for history in histories)
