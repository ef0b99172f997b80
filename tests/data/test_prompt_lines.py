"""Files of prompts: templates of questions and of short histories, with slots that keep their value."""

import random
from itertools import islice

import pytest

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Message
from turnwise.data.prompts.prompt_lines import load_prompt_lines


def write_prompts(tmp_path, text):
    path = tmp_path / "prompts.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def sample(path, count=40, seed=0):
    return list(islice(load_prompt_lines(path).sample(random.Random(seed)), count))


def test_a_text_is_one_user_turn(tmp_path):
    histories = sample(write_prompts(tmp_path, 'greeting: ["hello[| there]"]'))
    assert set(histories) == {(Message("user", "hello"),), (Message("user", "hello there"),)}


def test_a_list_is_a_history_that_ends_with_a_user_turn(tmp_path):
    path = write_prompts(tmp_path, 'talk: [["I am {name}.", "Hi {name}!", "who am I?"]]\nslots: {name: [Ana, Ben]}')
    for user, assistant, question in sample(path):
        assert (user.role, assistant.role, question.role) == ("user", "assistant", "user")
        assert user.content.removeprefix("I am ").rstrip(".") == assistant.content.removeprefix("Hi ").rstrip("!")
        assert question.content == "who am I?"
    assert {history[0].content for history in sample(path)} == {"I am Ana.", "I am Ben."}


def test_a_history_may_begin_with_a_system_message(tmp_path):
    path = write_prompts(tmp_path, 'rules: [{system: "Be [brief|kind].", turns: "hi"}]')
    assert {history[0] for history in sample(path)} == {Message("system", "Be brief."), Message("system", "Be kind.")}
    assert all(history[1:] == (Message("user", "hi"),) for history in sample(path))


def test_topics_are_equally_likely_whatever_their_number_of_lines(tmp_path):
    path = write_prompts(tmp_path, "small: [one]\nlarge: [a, b, c, d, e, f, g, h, i]")
    assert 80 < sample(path, 200).count((Message("user", "one"),)) < 120


def test_samples_depend_only_on_the_seed(tmp_path):
    path = write_prompts(tmp_path, 'topic: ["[a|b|c|d] [e|f|g|h]"]')
    assert sample(path, seed=1) == sample(path, seed=1) != sample(path, seed=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("topic: [[question, answer]]", ["topic", "starts and ends with a user turn"]),
        ("topic: [[]]", ["topic", "starts and ends with a user turn"]),
        ("topic: [5]", ["topic", "starts and ends with a user turn"]),
        ("topic: [[5]]", ["topic", "[5]"]),
        ("topic: [{system: Be brief.}]", ["topic", "'system' and 'turns'"]),
        ("topic: ['hello [there']", ["topic", "never closed"]),
        ("topic: ['hello {name}']", ["topic", "'slots' lacks name"]),
        ("slots: {count: [two, 3]}\ntopic: ['{count} apples']", ["'count'", "put numbers in quotes"]),
        ("slots: {count: []}\ntopic: ['{count} apples']", ["'count'", "list of texts"]),
    ],
)
def test_a_malformed_file_is_rejected_with_its_topic(tmp_path, text, words):
    path = write_prompts(tmp_path, text)
    with pytest.raises(InvalidData) as raised:
        load_prompt_lines(path)
    for word in (str(path), *words):
        assert word in str(raised.value)
