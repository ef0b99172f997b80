"""Safety lines while the resources of a scenario, such as its documents and classifiers, are late or fail."""

import asyncio

import pytest

from service_scenarios import ask, open_shop
from turnwise.chat.service_path import safety_line
from turnwise.chat.service_path.scenario_chat_service import ScenarioChatService
from turnwise.scenarios.scenario_library import ScenarioLibrary, builtin_folder
from turnwise.testing import ScriptedChatService

UNWRITTEN = "my uncle slid off the roof, his legs are numb and he keeps mumbling nonsense"


@pytest.fixture
def conversation(store):
    return store.create(title="", model="scripted").id


class FailingResources:
    """A full disk."""

    async def get(self, definition):
        raise OSError(28, "No space left on device")


class LateResources:
    """A document that takes long to read."""

    async def get(self, definition):
        await asyncio.Event().wait()


def test_a_phrase_needs_no_resources_and_still_calls_a_person(tmp_path, reply, store, conversation):
    service, _ = open_shop(tmp_path, store=store, resources=FailingResources())
    assert reply(service, ask("my lamp is on fire", conversation=conversation)).text.startswith("Pull the plug")
    assert store.handoffs.current(conversation).request.reason == "safety:fire"
    assert store.get(conversation).messages[-1].message.content.startswith("Pull the plug")
    with pytest.raises(OSError, match="No space left"):
        reply(service, ask("what are your opening hours?", conversation=conversation))


@pytest.mark.parametrize("resources", [FailingResources(), LateResources()])
def test_without_resources_the_words_alone_decide(reply, monkeypatch, resources):
    monkeypatch.setattr(safety_line, "MAX_WAIT_SECONDS", 0.01)
    service = ScenarioChatService(ScriptedChatService(), ScenarioLibrary([builtin_folder()]), resources=resources)
    report = reply(service, ask(UNWRITTEN, scenario="health_information")).service
    assert report.decision.startswith("safety:")
    assert report.decisions[-1].outcome == "classified"
