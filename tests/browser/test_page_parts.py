"""The parts that all pages share: links to each other, skip link, theme, errors."""

import pytest
from playwright.sync_api import expect

from turnwise.chat.classification_service import StepwiseClassificationService
from turnwise.improve.cycle_reader import CycleReader
from turnwise.server.app import create_app
from turnwise.store import open_monitor_reader, open_monitor_store
from turnwise.testing import ScriptedChatService, serve_in_thread

PATHS = {
    "Chat": "/",
    "Playground": "/playground",
    "Classify": "/classify",
    "Monitor": "/monitor",
    "Improve": "/improve",
    "API": "/docs",
}


@pytest.fixture(scope="module")
def server_url(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('monitor') / 'monitor.db'}"
    open_monitor_store(url).close()
    classifiers = {"names": StepwiseClassificationService("names", 0, "token_classification", ("PER",), False, 8, None)}
    app = create_app(
        {"scripted": ScriptedChatService()}, default="scripted", classifiers=classifiers,
        monitor=open_monitor_reader(url), improvement=CycleReader(None, tmp_path_factory.mktemp("cycles")),
    )  # fmt: skip
    with serve_in_thread(app) as url:
        yield url


@pytest.fixture
def script_answers():
    """These tests have no chat."""


def test_the_keyboard_reaches_every_page_from_every_other_one(visit, server_url):
    page = visit("/docs")
    for label in ("Chat", "Monitor", "Improve", "Classify", "API", "Classify", "Chat"):
        links = page.get_by_role("navigation", name="Pages").get_by_role("link")
        expect(links).to_have_text(list(PATHS))
        links.get_by_text(label, exact=True).press("Enter")
        page.wait_for_url(server_url + PATHS[label])
        page.wait_for_selector("body[data-ready]")
        expect(page.locator("nav a[aria-current=page]")).to_have_text(label)


@pytest.mark.parametrize("path", PATHS.values())
def test_the_skip_link_moves_the_focus_and_leaves_the_address(visit, server_url, path):
    page = visit(path)
    page.locator(".skip").press("Enter")
    expect(page.locator("#prompt" if path == "/" else "main")).to_be_focused()
    assert page.url == server_url + path
    expect(page.locator("#banner")).to_be_hidden()


def test_the_theme_of_one_page_is_that_of_all(visit):
    page = visit("/classify", color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.click("#theme")
    dark = page.evaluate(background)
    assert dark != light
    page.get_by_role("link", name="Monitor").click()
    page.wait_for_selector("body.monitor[data-ready]")
    assert page.evaluate(background) == dark


@pytest.mark.parametrize("path", PATHS.values())
def test_a_page_that_gets_no_answer_says_so_and_tries_again(visit, path):
    page = visit("/health", ready=False)
    page.route("**/v1/**", lambda route: route.abort())
    page.route("**/openapi.json", lambda route: route.abort())
    page.goto(page.url.removesuffix("/health") + path)
    # The chat page continues by itself.
    message = "The server is not running" if path == "/" else "The server does not answer. Is it still running?"
    expect(page.get_by_role("alert")).to_contain_text(message)
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#banner")).to_be_hidden()


@pytest.mark.parametrize("path", PATHS.values())
def test_every_page_fits_a_phone_screen(visit, path):
    page = visit(path, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
