"""A real server on a real socket, in a thread."""

import contextlib
import threading
import time

import pytest
import uvicorn

from turnwise.server.app import create_app
from turnwise.server.run import _config
from turnwise.store import open_store
from turnwise.testing import ScriptedChat


@contextlib.contextmanager
def running(app):
    """The base URL of `app`, served until the block ends."""
    config = _config(app)
    config.host, config.port = "127.0.0.1", 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def eventually(condition, seconds=5.0):
    """Whether `condition()` comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture(scope="session")
def services():
    return {}


@pytest.fixture(scope="session")
def _address(services):
    services["scripted"] = ScriptedChat()
    with running(create_app(services, default="scripted")) as address:
        yield address


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


@pytest.fixture
def chat(services, store):
    """What the server at `url` answers with, fresh for every test."""
    services.clear()
    services["scripted"] = ScriptedChat(store=store)
    return services["scripted"]


@pytest.fixture
def url(_address, chat):
    return _address
