"""A server in a thread, on a real socket."""

import pytest

from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture(scope="session")
def services():
    return {}


@pytest.fixture(scope="session")
def _address(services):
    services["scripted"] = ScriptedChatService()
    with serve_in_thread(create_app(services, default="scripted")) as address:
        yield address


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


@pytest.fixture
def chat(services, store):
    """The chat service behind `url`; a new one for every test."""
    services.clear()
    services["scripted"] = ScriptedChatService(store=store)
    return services["scripted"]


@pytest.fixture
def url(_address, chat):
    return _address
