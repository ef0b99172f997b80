"""Fixtures: the chat page in a real browser, against a server with a scripted chat service."""

import shutil
from pathlib import Path

import pytest

from turnwise.app.conversation_files import LocalConversationFiles
from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    """Mark all tests of this folder with `browser`; skip them without Chromium."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(
                    pytest.mark.skip("No Chromium was found; install it (apt-get install chromium) to run this.")
                )


# Scope "module", not "session": the event loop of Playwright runs while it is open and would break other tests.
@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def services():
    return {"scripted": ScriptedChatService()}


@pytest.fixture(scope="session")
def server_url(services):
    app = create_app(services, default="scripted", auto_titles=False, conversation_files=LocalConversationFiles())
    with serve_in_thread(app) as url:
        yield url


@pytest.fixture
def store():
    memory_store = open_store("sqlite:///:memory:")
    yield memory_store
    memory_store.close()


@pytest.fixture
def script_answers(services, store):
    """Replace the chat service: `script_answers(script, **settings)` returns the new one."""

    def replace_service(script=("Hello", ", ", "you", "."), **settings):
        services["scripted"] = ScriptedChatService(script, store=store, **settings)
        return services["scripted"]

    replace_service()
    yield replace_service
    services["scripted"] = ScriptedChatService()  # the store will be closed


@pytest.fixture
def visit(browser, server_url, script_answers):
    """Open a page in a new browser profile. A script error or a blocked resource fails the test."""
    errors, contexts = [], []

    def open_page(path="/", *, ready=True, **settings):
        # Requests that a service worker answers cannot be routed by a test.
        defaults = {"viewport": {"width": 1200, "height": 800}, "service_workers": "block"}
        context = browser.new_context(**defaults | settings)
        contexts.append(context)
        context.set_default_timeout(8000)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                message.type == "error" and "Failed to load" not in message.text and errors.append(message.text)
            ),
        )
        page.on("request", lambda request: request.url.startswith((server_url, "blob:")) or errors.append(request.url))
        page.goto(server_url + path)
        if ready:
            page.wait_for_selector("body[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def branched(store):
    """A conversation with two branches."""
    id = store.create(title="Tea", model="scripted").id
    question, _ = store.append(id, [Message("user", "Is there tea?"), Message("assistant", "Yes, green tea.")])
    store.append(id, [Message("user", "And coffee?")])
    store.append(id, [Message("assistant", "No.")], {"model": "other", "finish": "stop"}, parent_id=question)
    return id
