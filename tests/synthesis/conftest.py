"""Parties that say what they are told, and the model in the box."""

import pytest

from turnwise.synthesis.scenario_file import ScenarioFile
from turnwise.synthesis.self_chat import SelfChat
from turnwise.testing import ScriptedChatService


@pytest.fixture
def scenes():
    shop = {"assistants": ["You sell bikes."], "users": ["You are Omar."], "openers": ["hi", "hello"]}
    garden = {"openers": ["nice roses"], "weight": 3}
    return ScenarioFile.model_validate({"scenes": {"shop": shop, "garden": garden}})


@pytest.fixture
def dice(scenes):
    """A self-chat whose parties say numbers that depend on nothing but the seed of their turn."""

    def make(seed=0, exchanges=(1, 4), script=lambda turn: [f"I say {turn.sampling['seed']}."]):
        party = ScriptedChatService(script)
        return SelfChat(party, party, scenes, exchanges, seed)

    return make


@pytest.fixture(scope="session")
def box(one_thread):
    from turnwise.app.chat_services import open_chat_service

    with open_chat_service(max_num_seqs=4) as service:
        yield service
