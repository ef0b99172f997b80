"""What the browser loads for the chat page, uncompressed, in English."""

import pytest
from page_actions import answers, send
from playwright.sync_api import expect

MAX_BYTES_UNTIL_READY = 250_000
MAX_BYTES_WITH_ANSWER = 265_000  # with the Markdown parser, which is loaded when the page is idle
WITHOUT_IDLE_TIME = "window.requestIdleCallback = () => 0"


@pytest.fixture
def load(visit):
    """Load the chat page in a new tab. Returns the page, and the sizes of the responses by address, as they arrive."""

    def load_page(script=""):
        page = visit("/health", ready=False)
        sizes = {}
        page.add_init_script(script)
        page.on("requestfinished", lambda request: sizes.update({request.url: len(request.response().body())}))
        page.goto(page.url.removesuffix("/health"))
        page.wait_for_selector("body[data-ready]")
        return page, sizes

    return load_page


def test_the_page_is_ready_after_few_bytes(load):
    page, sizes = load(WITHOUT_IDLE_TIME)
    page.wait_for_load_state("networkidle")
    loaded = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert set(loaded) <= set(sizes)
    assert sum(sizes.values()) <= MAX_BYTES_UNTIL_READY, sizes


def test_nothing_is_loaded_that_is_not_needed_yet(load):
    page, sizes = load(WITHOUT_IDLE_TIME)
    page.wait_for_load_state("networkidle")
    names = (
        "vendor/",
        "settings_panel",
        "v1/parameters",
        "history_actions",
        "menu.js",
        "answer_choices",
        "palette",
        "token_panel",
        "dialog",
    )
    assert [url for url in sizes if any(name in url for name in names)] == []


def test_an_answer_adds_the_parser_only(load, script_answers):
    script_answers(["A **plain** answer."])
    page, sizes = load()
    send(page, "hi")
    expect(answers(page).locator("strong")).to_have_text("plain")
    assets = {url: size for url, size in sizes.items() if "/assets/" in url or url.endswith("/")}
    assert any("markdown-it" in url for url in assets)
    assert sum(assets.values()) <= MAX_BYTES_WITH_ANSWER, assets
    assert not [url for url in assets if "highlight" in url or "temml" in url]


def test_a_menu_and_the_settings_work_with_the_keyboard_while_their_modules_are_loaded(load):
    page, sizes = load()
    page.focus("#history-menu")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="New folder…")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#history-menu")).to_be_focused()
    page.focus("#open-controls")
    page.keyboard.press("Enter")
    expect(page.locator("#close-controls")).to_be_focused()
    expect(page.locator("#control-temperature")).to_be_visible()
    assert any("settings_panel" in url for url in sizes)


def test_the_settings_can_be_loaded_again_after_a_failure(visit):
    page = visit()
    page.route("**/v1/parameters", lambda route: route.abort())
    page.click("#open-controls")
    expect(page.locator("#banner")).to_be_visible()
    page.unroute("**/v1/parameters")
    page.click("#banner-retry")
    expect(page.locator("#control-temperature")).to_be_visible()
