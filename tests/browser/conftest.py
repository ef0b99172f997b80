"""The chat page in a real browser, against a real server with a scripted chat."""

import shutil
from pathlib import Path

import pytest

from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    """Every test of this folder needs the browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(
                    pytest.mark.skip("No Chromium was found; install it (apt-get install chromium) to run this.")
                )


# Of the module and not of the session: while Playwright is open its event loop runs, and other tests stumble over it.
@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def services():
    return {"scripted": ScriptedChatService()}


@pytest.fixture(scope="session")
def address(services):
    with serve_in_thread(create_app(services, default="scripted")) as url:
        yield url


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


@pytest.fixture
def talk(services, store):
    """Set what the server answers with: `talk(script, **settings)`."""

    def use(script=("Hello", ", ", "you", "."), **settings):
        services["scripted"] = ScriptedChatService(script, store=store, **settings)
        return services["scripted"]

    use()
    return use


@pytest.fixture
def visit(browser, address, talk):
    """Open the page in a fresh browser profile. A script error or a blocked resource fails the test."""
    problems, contexts = [], []

    def go(path="/", *, ready=True, **settings):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **settings})
        contexts.append(context)
        context.set_default_timeout(8000)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda said: said.type == "error" and "Failed to load" not in said.text and problems.append(said.text),
        )
        page.on("request", lambda asked: asked.url.startswith((address, "blob:")) or problems.append(asked.url))
        page.goto(address + path)
        if ready:
            page.wait_for_selector("body[data-ready]")
        return page

    yield go
    for context in contexts:
        context.close()
    assert problems == []
