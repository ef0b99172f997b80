"""pass^1 and pass^k of the test conversations of a scenario."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.app.scenario_answers import ScenarioAnswer
from turnwise.app.scenario_tests import (
    TestOutcome,
    answer_errors,
    count_decisions,
    language_rates,
    pass_rates,
    run_scenario_tests,
)
from turnwise.scenarios.dialogues import TestConversation


def conversation(**values):
    base = {"id": "a", "language": "en", "messages": ["Where is it?"], "decision": "template:order"}
    return TestConversation.model_validate({**base, **values})


def outcome(*passes, **values):
    answers = tuple(ScenarioAnswer("x", "clarify") for _ in passes)
    return TestOutcome(conversation(**values), answers, tuple(() if is_right else ("wrong",) for is_right in passes))


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.data())
def test_pass_power_is_the_share_of_sets_of_k_answers_that_all_pass(passes, data):
    k = data.draw(st.integers(1, len(passes)))
    sets = list(combinations(passes, k))
    assert outcome(*passes).pass_power(k) == pytest.approx(sum(map(all, sets)) / len(sets))


def test_rates_are_given_for_all_conversations_and_each_kind_of_decision():
    outcomes = [
        outcome(True, True),
        outcome(True, False, decision="safety:fire"),
        outcome(False, False, decision=["safety:shock", "knowledge"]),
    ]
    rates = {(rate.label, rate.k): (rate.num_tests, rate.value) for rate in pass_rates(outcomes, 2)}
    assert rates == {
        ("all", 1): (3, 0.5),
        ("all", 2): (3, pytest.approx(1 / 3)),
        ("template", 1): (1, 1.0),
        ("template", 2): (1, 1.0),
        ("safety", 1): (2, 0.25),
        ("safety", 2): (2, 0.0),
    }


def test_rates_are_given_for_each_language():
    rates = language_rates([outcome(True), outcome(False), outcome(True, language="zh")], 1)
    assert {rate.label: (rate.num_tests, rate.value) for rate in rates} == {
        "all": (3, pytest.approx(2 / 3)), "en": (2, 0.5), "zh": (1, 1.0),
    }  # fmt: skip


def test_answers_are_counted_by_expected_and_taken_decision():
    answers = tuple(ScenarioAnswer("x", decision) for decision in ("knowledge", "safety:fire", "template:hours"))
    test = conversation(decision=["template:order", "knowledge"])
    counts = count_decisions([TestOutcome(test, answers, ((), (), ()))])
    assert counts == {("template", "template"): 2, ("template", "safety"): 1}, "an accepted one counts as expected"


def test_an_interval_contains_the_rate_and_stays_between_0_and_1():
    rates = pass_rates([outcome(True, False), *(outcome(False, False) for _ in range(7)), outcome(True, True)], 2)
    for rate in rates[:2]:
        assert 0 <= rate.interval.low <= rate.value <= rate.interval.high <= 1
    assert pass_rates([outcome(True)] * 4, 1)[0].interval is None  # too few conversations


def test_an_answer_is_wrong_without_the_required_words_or_with_another_decision():
    test = conversation(must_include=[["order", "parcel*"]], must_not_include=["tomorrow"], decision="refusal")
    assert answer_errors(test, ScenarioAnswer("Your parcels are here.", "refusal:discounts")) == ()
    assert answer_errors(test, ScenarioAnswer("Parcel, tomorrow.", "refusal:hostile")) == (
        "the answer contains: tomorrow",
    )
    assert answer_errors(test, ScenarioAnswer("Parcel.", "refusal:discounts")) == ()
    assert answer_errors(test, ScenarioAnswer("Parcel.", "knowledge")) == ("the decision is knowledge, not refusal",)


def test_every_conversation_is_answered_with_different_seeds():
    queries = []

    def answer(conversations, on_done):
        queries.extend((test.id, seed) for test, seed in conversations)
        on_done(len(conversations))
        return [ScenarioAnswer(f"{test.id} {seed}", "clarify") for test, seed in conversations]

    tests = [conversation(id="a"), conversation(id="b")]
    outcomes = run_scenario_tests(tests, answer, 2, lambda _: None, seed=5)
    assert queries == [("a", 5), ("a", 6), ("b", 5), ("b", 6)]
    assert [[reply.text for reply in result.answers] for result in outcomes] == [["a 5", "a 6"], ["b 5", "b 6"]]
