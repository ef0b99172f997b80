"""Scenario files: what is drawn from them, which errors name the key, and which messages are goodbyes."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from turnwise.core.errors import InvalidData
from turnwise.core.scenario import Scenario
from turnwise.synthesis.scenario_file import load_scenarios

EXAMPLE = Path(__file__).parents[2] / "examples/scenarios.yaml"


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "scenarios.yaml").write_text(text)
        return load_scenarios(tmp_path / "scenarios.yaml")

    return load


def test_every_scenario_of_the_example_file_is_complete():
    scenarios = load_scenarios(EXAMPLE)
    drawn = [scenarios.draw(Random(seed)) for seed in range(300)]
    assert {scenario.name for scenario in drawn} == set(scenarios.scenarios)
    assert all(scenario.system_prompt and scenario.user_persona and scenario.first_message for scenario in drawn)


def test_scenarios_are_drawn_in_proportion_to_their_weights(load):
    scenarios = load("scenarios: {rare: {first_messages: [a]}, frequent: {first_messages: [b], weight: 9}}")
    drawn = Counter(scenarios.draw(Random(seed)).name for seed in range(1000))
    assert 850 < drawn["frequent"] < 950


def test_system_prompts_and_personas_are_optional(load):
    scenarios = load("scenarios: {a: {first_messages: [hi]}}")
    assert scenarios.draw(Random(0)) == Scenario("a", None, None, "hi")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "scenarios: {a: {first_message: [hi]}}",
            r"unknown key 'scenarios.a.first_message': did you mean 'first_messages'\?",
        ),
        ("scenario: {}", r"unknown key 'scenario': did you mean 'scenarios'\?"),
        ("scenarios: {a: {first_messages: []}}", r"'scenarios.a.first_messages'"),
        ("scenarios: {a: {user_personas: [x]}}", r"'scenarios.a.first_messages' is missing"),
        ("scenarios: {a: {first_messages: [hi], weight: 0}}", r"'scenarios.a.weight'"),
        ("scenarios: {a: {first_messages: ['  ']}}", r"'scenarios.a.first_messages.0'"),
        (
            "scenarios: {a: {first_messages: [x]}, a: {first_messages: [y]}}",
            "line 1: the key 'a' occurs twice",
        ),
        ("- a", r"it should hold keys \(goodbyes, scenarios\), not \['a'\]"),
        (
            "scenarios: {weight: {first_message: [hi]}}",
            r"unknown key 'scenarios.weight.first_message': did you mean 'first_messages'\?",
        ),
        ("scenarios: [", "not valid YAML"),
    ],
)
def test_an_invalid_file_is_rejected_with_the_key(load, text, message):
    with pytest.raises(InvalidData, match=message):
        load(text)


@pytest.mark.parametrize("text", ["Bye!", "ok, thanks. BYE", "See you then.", "That's all, goodbye :)"])
def test_a_message_that_ends_with_a_goodbye_is_one(scenarios, text):
    assert scenarios.is_goodbye(text)


@pytest.mark.parametrize("text", ["I said bye to my old bike", "Do you sell standby lights?", "hello", "rugbybye"])
def test_a_goodbye_inside_a_message_or_a_word_does_not_count(scenarios, text):
    assert not scenarios.is_goodbye(text)
