"""The scenarios that come with the package: complete in both languages, and their fixed answers pass their tests."""

from collections import Counter

import pytest

from turnwise.evaluation.golden_case import GoldenCase, case_errors
from turnwise.scenarios.checks import run_checks
from turnwise.scenarios.loader import load_scenario
from turnwise.scenarios.new_scenario import skeleton_folder
from turnwise.scenarios.scenario_library import builtin_folder

NAMES = ("assistant", "customer_service", "entertainment", "game_character", "health_information", "teaching")


@pytest.fixture(scope="module")
def scenarios():
    return {name: load_scenario(builtin_folder() / name) for name in NAMES}


def fixed_answers(scenario, test):
    """Answers that need no model: templates, refusals and safety lines, for each expected decision."""
    for decision in test.decisions:
        kind, _, name = decision.partition(":")
        if kind == "safety":
            yield scenario.safety[name].say[test.language]
        elif kind == "refusal" and name:
            yield scenario.refusal_text(name, test.language)
        elif kind == "hand_off" and scenario.settings.messages.hand_off:
            yield scenario.settings.messages.hand_off[test.language]
        elif kind == "template":
            values = scenario.fact_values(test.language)
            for slot_name, slot in scenario.slots.items():
                for message in test.messages[::2]:
                    if (value := slot.read(message, test.language, "en")) is not None:
                        values[slot_name] = value
            for template in scenario.templates[name][test.language]:
                yield template.render(values)


def test_all_folders_of_the_library_are_scenarios():
    assert sorted(path.name for path in builtin_folder().iterdir() if path.is_dir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_no_check_has_a_finding(scenarios, name):
    assert run_checks(scenarios[name]) == []


def test_the_skeleton_of_a_new_scenario_has_no_findings():
    assert run_checks(load_scenario(skeleton_folder())) == []


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_tests_and_the_sizes_that_the_guide_states(scenarios, name):
    tests = Counter(test.language for test in scenarios[name].tests)
    assert set(tests) == {"en", "zh"}
    assert min(tests.values()) >= (20 if name == "customer_service" else 6)
    assert tests.total() >= (40 if name == "customer_service" else 12)


@pytest.mark.parametrize("name", NAMES)
def test_fixed_answers_pass_the_tests(scenarios, name):
    scenario = scenarios[name]
    problems = [
        (test.id, errors)
        for test in scenario.tests
        for answer in [*fixed_answers(scenario, test), *([test.passing_answer] if test.passing_answer else [])]
        if (errors := case_errors(
            GoldenCase(test.id, name, test.history, test.must_include, test.must_not_include), answer
        ))
    ]  # fmt: skip
    assert problems == []


def test_health_information_has_an_emergency_line_for_at_least_twelve_kinds(scenarios):
    lines = scenarios["health_information"].safety
    assert len(lines) >= 12
    assert all(line.call_person for line in lines.values())
    assert all("112" in line.say["en"] or name == "suicide" for name, line in lines.items())
    assert all(any(number in line.say["zh"] for number in ("120", "110", "产科")) for line in lines.values())


def test_a_misspelt_or_colloquial_emergency_is_recognised(scenarios):
    scenario = scenarios["health_information"]
    messages = {
        "i think hes having a hart attack": "chest_pain",
        "cant breath help": "breathing",
        "shes unconcious": "not_breathing_unconscious",
        "我奶奶喊不醒": "not_breathing_unconscious",
        "喘不过来气": "breathing",
        "不小心喝了洁厕灵": "poisoning",
    }
    assert {message: getattr(scenario.match_safety(message), "name", "") for message in messages} == messages


@pytest.mark.parametrize(
    "message",
    [
        "I ordered a chest of drawers",
        "what is a stroke",
        "how do I prevent a heart attack",
        "I laughed so hard",
        "I passed out leaflets",
        "breathing exercises before an exam",
        "my work is killing me but the pay is fine",
        "想死你了",
        "笑得肚子疼",
        "今天忙得喘不过气",
        "怎么预防中暑",
        "打我电话",
        "什么是癫痫",
    ],
)
def test_a_harmless_message_with_similar_words_is_not_an_emergency(scenarios, message):
    assert scenarios["health_information"].match_safety(message) is None


def test_customer_service_reads_order_numbers_and_sizes(scenarios):
    scenario = scenarios["customer_service"]
    slots = scenario.slots
    assert slots["order_number"].read("查一下fh204518", "zh", "en") == "FH204518"
    assert slots["order_number"].read("FH-2045 is it", "en", "en") is None
    assert slots["size"].read("I'd like a mediun please", "en", "en") == "medium"
    assert slots["size"].read("要大码的", "zh", "en") == "大号"
    assert slots["size"].read("要加大号", "zh", "en") == "加大号"
    assert slots["size"].read("medium instead of small please", "en", "en") == "medium"
    assert slots["size"].read("the L you sent is too large, a medium please", "en", "en") == "medium"
    assert slots["size"].read("小号换中号", "zh", "en") == "中号"
    assert slots["size"].read("it is too small", "en", "en") is None
    assert slots["size"].read("small or medium, which is better?", "en", "en") is None
    for wish in (
        "can I have a large please",
        "the large, I think",
        "I need the large you have in blue",
        "发大号给我吧",
    ):
        assert slots["size"].read(wish, "en", "en") == "large"
