"""Parties that say what they are told, and the model in the box."""

import pytest

from turnwise.synthesis.scenario_file import Scenes
from turnwise.synthesis.self_chat import SelfChat
from turnwise.testing import ScriptedChat


@pytest.fixture
def scenes():
    shop = {"assistants": ["You sell bikes."], "users": ["You are Omar."], "openers": ["hi", "hello"]}
    garden = {"openers": ["nice roses"], "weight": 3}
    return Scenes.model_validate({"scenes": {"shop": shop, "garden": garden}})


@pytest.fixture
def dice(scenes):
    """A self-chat whose parties say numbers that depend on nothing but the seed of their turn."""

    def make(seed=0, exchanges=(1, 4), script=lambda turn: [f"I say {turn.asked['seed']}."]):
        party = ScriptedChat(script)
        return SelfChat(party, party, scenes, exchanges, seed)

    return make


@pytest.fixture(scope="session")
def box(one_thread):
    from turnwise.app.services import chat_service

    with chat_service(slots=4) as service:
        yield service
