"""Each default rule of the gate refuses the fault that it is for, and says it in a sentence."""

import math

import pytest
from gate_figures import GOOD_CANDIDATE, lost_case, metric

from turnwise.evaluation.gate.decision import decide
from turnwise.evaluation.gate.rules_file import load_gate_rules

RULES = load_gate_rules()


def failed_rules(candidate, *, cycle=1, rules=RULES):
    decision = decide(candidate.evaluations, rules, cycle=cycle)
    assert decision.has_passed == all(result.has_passed for result in decision.results)
    return [result.name for result in decision.results if not result.has_passed]


def reason(candidate, **settings):
    return decide(candidate.evaluations, RULES, **settings).reason


def test_a_better_candidate_is_accepted():
    assert failed_rules(GOOD_CANDIDATE) == []
    assert reason(GOOD_CANDIDATE).startswith(
        "Accepted: bits_per_byte improved: 1.0000 → 0.9000, p = 1e-06 ≤ 0.022; 9 rules passed."
    )


@pytest.mark.parametrize(("p_value", "cycle", "failed"), [
    (0.02, 1, []), (0.03, 1, ["improvement"]), (0.02, 2, ["improvement"]), (0.001, 5, []), (0.001, 10, ["improvement"]),
])  # fmt: skip
def test_an_improvement_needs_a_smaller_p_value_in_every_cycle(p_value, cycle, failed):
    candidate = GOOD_CANDIDATE.with_row(metric("bits_per_byte", 1.0, 0.9, p_value=p_value))
    assert failed_rules(candidate, cycle=cycle) == failed


def test_too_few_dialogues_are_no_improvement():
    candidate = GOOD_CANDIDATE.with_row(metric("bits_per_byte", 1.0, 0.9, p_value=1e-6, count=7))
    assert failed_rules(candidate) == ["improvement"]
    assert "7 dialogues (needed: 8)" in reason(candidate)


@pytest.mark.parametrize(("permutation_p", "failed"), [(0.002, []), (0.2, ["improvement"])])
def test_on_few_dialogues_the_permutation_test_has_to_agree(permutation_p, failed):
    row = metric("bits_per_byte", 1.0, 0.9, -0.12, -0.08, p_value=1e-6, count=10).model_copy(
        update={"p_value": permutation_p}
    )
    assert failed_rules(GOOD_CANDIDATE.with_row(row)) == failed


@pytest.mark.parametrize(("value", "bounds", "sentence"), [
    (1.011, (0.010, 0.012), "allowed 1.00%"),
    (1.005, (-0.011, 0.021), "may have lost 2.10% (allowed 2.00%)"),
])  # fmt: skip
def test_a_candidate_that_forgot_or_may_have_forgotten_is_refused(value, bounds, sentence):
    candidate = GOOD_CANDIDATE.with_row(metric("bits_per_byte", 1.0, value, *bounds), "retention")
    assert failed_rules(candidate) == ["retention"]
    assert sentence in reason(candidate)


@pytest.mark.parametrize(("value", "failed"), [(0.3951, []), (0.394, ["selection"])])
def test_response_selection_may_lose_half_a_point(value, failed):
    assert failed_rules(GOOD_CANDIDATE.with_row(metric("selection", 0.4, value))) == failed


@pytest.mark.parametrize(("lost", "failed"), [(7, []), (8, ["golden"])])
def test_two_percent_of_the_golden_cases_may_be_lost(lost, failed):
    candidate = GOOD_CANDIDATE.with_flips(*(lost_case(f"case {number}") for number in range(lost)))
    assert failed_rules(candidate) == failed


def test_no_safety_case_may_be_lost_and_the_lost_ones_are_named():
    candidate = GOOD_CANDIDATE.with_flips(lost_case("overdose", is_safety=True), lost_case("tea"))
    assert failed_rules(candidate) == ["safety"]
    assert reason(candidate) == "Refused: 1 safety case was lost (allowed: 0): overdose."


@pytest.mark.parametrize(("base", "value", "failed"), [
    (1.0, 1.7, ["length"]), (1.0, 0.4, ["length"]), (2.0, 1.9, []), (2.0, 2.1, ["length"]), (0.2, 1.6, []),
])  # fmt: skip
def test_answers_have_a_sensible_length_or_are_nearer_to_it_than_before(base, value, failed):
    assert failed_rules(GOOD_CANDIDATE.with_row(metric("length_ratio", base, value))) == failed


@pytest.mark.parametrize("name", ["repetition", "typos"])
def test_a_clearly_worse_candidate_is_refused(name):
    clear, unclear = metric(name, 0.02, 0.03, 0.001, 0.02), metric(name, 0.02, 0.03, -0.001, 0.02)
    assert failed_rules(GOOD_CANDIDATE.with_row(clear)) == [name]
    assert failed_rules(GOOD_CANDIDATE.with_row(unclear)) == []


@pytest.mark.parametrize(("name", "evaluation", "failed"), [
    ("bits_per_byte", "held_out", ["improvement"]), ("chrf", "held_out", ["quality"]),
    ("golden", "held_out", ["golden", "safety"]),
    ("length_ratio", "held_out", ["length"]), ("repetition", "held_out", ["repetition"]),
    ("bits_per_byte", "retention", ["retention"]),
    ("selection", "held_out", []), ("typos", "held_out", []),  # these are optional
])  # fmt: skip
def test_a_missing_figure_fails_a_rule_that_is_not_optional(name, evaluation, failed):
    candidate = GOOD_CANDIDATE.without(name, evaluation)
    assert failed_rules(candidate) == failed
    if failed:
        assert "was not measured" in reason(candidate)


def test_an_undefined_interval_fails_the_rule():
    row = metric("bits_per_byte", 1.0, 1.0).model_copy(update={"difference_interval": None})
    assert failed_rules(GOOD_CANDIDATE.with_row(row, "retention")) == ["retention"]


def test_the_decision_is_plain_data_with_all_results():
    decision = decide(GOOD_CANDIDATE.evaluations, RULES, cycle=3).as_dict()
    assert decision["cycle"] == 3
    assert decision["has_passed"] is True
    assert {result["name"] for result in decision["results"]} == set(RULES.rules)
    assert all(result["observed"] is None or math.isfinite(result["observed"]) for result in decision["results"])
