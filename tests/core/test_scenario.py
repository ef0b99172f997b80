"""A scenario puts its system prompt before the messages of a conversation."""

import pytest

from turnwise.core.messages import Message
from turnwise.core.scenario import Scenario

QUESTION = Message("user", "When do you open?")


def test_the_system_prompt_comes_before_the_messages():
    scenario = Scenario("shop", "You answer for Pedalhaus.")
    assert scenario.prepend_to([QUESTION]) == (Message("system", "You answer for Pedalhaus."), QUESTION)


@pytest.mark.parametrize("prompt", [None, ""])
def test_without_a_system_prompt_the_messages_are_unchanged(prompt):
    assert Scenario(system_prompt=prompt).prepend_to([QUESTION]) == (QUESTION,)


def test_texts_for_a_simulated_user_are_not_shown_to_the_assistant():
    scenario = Scenario("shop", user_persona="You are Omar.", first_message="Hi")
    assert scenario.prepend_to([QUESTION]) == (QUESTION,)
