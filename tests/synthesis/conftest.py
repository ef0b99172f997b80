"""Scenarios, self-chats of scripted models, and the bundled model."""

import pytest

from turnwise.synthesis.scenario_file import ScenarioFile
from turnwise.synthesis.self_chat import SelfChat
from turnwise.testing import ScriptedChatService


@pytest.fixture
def scenarios():
    shop = {
        "system_prompts": ["You sell bikes."],
        "user_personas": ["You are Omar."],
        "first_messages": ["hi", "hello"],
    }
    garden = {"first_messages": ["nice roses"], "weight": 3}
    return ScenarioFile.model_validate({"scenarios": {"shop": shop, "garden": garden}})


@pytest.fixture
def seeded_self_chat(scenarios):
    """`seeded_self_chat(seed, exchanges, script)`: by default both models reply with the seed of the request."""

    def build(seed=0, exchanges=(1, 4), script=lambda request: [f"I say {request.sampling['seed']}."]):
        service = ScriptedChatService(script)
        return SelfChat(service, service, scenarios, exchanges, seed)

    return build


@pytest.fixture(scope="session")
def bundled_model(one_thread):
    from turnwise.app.chat_services import open_chat_service

    with open_chat_service(max_num_seqs=4) as service:
        yield service
