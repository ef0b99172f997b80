"""All chat services have the members of the port."""

import pytest

from turnwise.chat.service import EngineChatService
from turnwise.core.chat_service import ChatService
from turnwise.server.instrumented_service import InstrumentedService
from turnwise.server.prometheus_metrics import ServerMetrics
from turnwise.testing import ScriptedChatService

MEMBERS = {name for name in vars(ChatService) if not name.startswith("_")}


def instrumented():
    return InstrumentedService(ScriptedChatService(), ServerMetrics(num_running=lambda: 0, num_waiting=lambda: 0))


@pytest.mark.parametrize("create", [ScriptedChatService, instrumented])
def test_a_service_has_all_members_of_the_port(create):
    service = create()
    assert not MEMBERS - set(dir(service))
    assert service.name == "scripted"


def test_the_engine_service_has_all_members_of_the_port():
    fields = set(EngineChatService.__dataclass_fields__)
    assert not MEMBERS - fields - set(dir(EngineChatService))
