"""Scenes say who talks; what is wrong with a file is said by name."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from turnwise.core.errors import InvalidData
from turnwise.synthesis.scenario_file import load_scenarios

EXAMPLE = Path(__file__).parents[2] / "examples/scenes.yaml"


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "scenes.yaml").write_text(text)
        return load_scenarios(tmp_path / "scenes.yaml")

    return load


def test_the_example_is_what_it_should_be():
    scenes = load_scenarios(EXAMPLE)
    drawn = [scenes.draw(Random(seed)) for seed in range(300)]
    assert {name for name, *_ in drawn} == set(scenes.scenes)
    assert all(assistant and user and opener for _, assistant, user, opener in drawn)


def test_weights_say_how_often(load):
    scenes = load("scenes: {rare: {openers: [a]}, usual: {openers: [b], weight: 9}}")
    drawn = Counter(scenes.draw(Random(seed))[0] for seed in range(1000))
    assert 850 < drawn["usual"] < 950


def test_personas_may_be_left_out(load):
    assert load("scenes: {a: {openers: [hi]}}").draw(Random(0)) == ("a", None, None, "hi")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scenes: {a: {opener: [hi]}}", r"unknown key 'scenes.a.opener': did you mean 'openers'\?"),
        ("scene: {}", r"unknown key 'scene': did you mean 'scenes'\?"),
        ("scenes: {a: {openers: []}}", r"'scenes.a.openers'"),
        ("scenes: {a: {users: [x]}}", r"'scenes.a.openers' is missing"),
        ("scenes: {a: {openers: [hi], weight: 0}}", r"'scenes.a.weight'"),
        ("scenes: {a: {openers: ['  ']}}", r"'scenes.a.openers.0'"),
        ("scenes: {a: {openers: [x]}, a: {openers: [y]}}", "line 1: the key 'a' occurs twice"),
        ("- a", r"it should hold keys \(goodbyes, scenes\), not \['a'\]"),
        ("scenes: {weight: {opener: [hi]}}", r"unknown key 'scenes.weight.opener': did you mean 'openers'\?"),
        ("scenes: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_by_name(load, text, told):
    with pytest.raises(InvalidData, match=told):
        load(text)


@pytest.mark.parametrize("text", ["Bye!", "ok, thanks. BYE", "See you then.", "That's all, goodbye :)"])
def test_a_turn_that_ends_with_a_goodbye_is_one(scenes, text):
    assert scenes.is_goodbye(text)


@pytest.mark.parametrize("text", ["I said bye to my old bike", "Do you sell standby lights?", "hello", "rugbybye"])
def test_other_turns_are_none(scenes, text):
    assert not scenes.is_goodbye(text)
