"""No view of the pages violates a rule of axe-core, in both themes and languages, on a desktop and at 320 pixels."""

import pytest
from accessibility import violations
from administration import add_usage, open_registry, open_site
from page_samples import serve_all_pages
from playwright.sync_api import expect

VIEWS = ("/", "/playground", "/review", "/improve", "/data", "/runs", "/versions", "/keys", "/docs")
SIZES = ({"width": 1280, "height": 800}, {"width": 320, "height": 640})
pytestmark = pytest.mark.costly


@pytest.fixture
def server_url(services, store, tmp_path):
    """A server that has versions, and usage of a key; it needs no key."""
    add_usage(tmp_path / "keys.db", "shop")
    with open_site(tmp_path, store, services, open_registry()) as url:
        yield url


def classify(page):
    page.select_option("#classify-model", "人名")
    page.fill("#classify-text", "我是小明。")
    page.click("#classify-send")
    expect(page.locator("mark")).to_be_visible()


def open_alert(page):
    page.locator(".alert-head").first.click()
    page.locator(".topic summary").first.click()
    expect(page.locator(".alert-text").first).to_be_visible()


def take_over(page):
    page.fill("#handoff-agent", "小刚")
    page.locator(".queue-entry a").first.click()
    expect(page.locator(".handoff-message").first).to_be_visible()
    if page.locator("#handoff-claim").is_visible():  # the first time
        page.click("#handoff-claim")
        expect(page.locator("#handoff-claim")).to_be_hidden()


def correct(page):
    page.keyboard.press("c")
    expect(page.locator("#review-correction-form")).to_be_visible()


def open_figures(page):
    page.locator(".improve-figures summary").click()


def open_operations(page):
    page.locator(".operation > summary").first.click()


SPECIAL_PAGES = {
    "/classify": classify, "/monitor": open_alert, "/handoffs": take_over, "/review": correct,
    "/improve": open_figures, "/docs": open_operations,
}  # fmt: skip


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_view_has_no_violation(visit, script_answers, theme, locale):
    script_answers(["Some **text**, `code` and a [link](https://example.org).\n\n| a | b |\n| - | - |\n| 1 | 2 |"])
    found = {}
    for size in SIZES:
        page = visit("/", color_scheme=theme, locale=locale, viewport=size)
        page.fill("#prompt", "Hello")
        page.press("#prompt", "Enter")
        page.wait_for_selector(".message.assistant:not(.growing) table")
        for view in VIEWS:
            if view != "/":
                page.goto(page.url.split("/", 3)[0] + "//" + page.url.split("/", 3)[2] + view)
                page.wait_for_load_state("networkidle")
                for details in page.locator(".versions summary, .keys summary").all():
                    details.click()
            found |= {(view, size["width"], rule): nodes for rule, nodes in violations(page)}
    assert found == {}


@pytest.fixture
def special_pages(tmp_path):
    with serve_all_pages(tmp_path) as url:
        yield url


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_for_a_special_task_has_no_violation_in_chinese(browser, special_pages, theme):
    found = {}
    for size in SIZES:
        page = browser.new_page(color_scheme=theme, locale="zh-CN", viewport=size)
        for path, prepare in SPECIAL_PAGES.items():
            page.goto(special_pages + path)
            page.wait_for_selector("body[data-ready]")
            prepare(page)
            found |= {(path, size["width"], rule): nodes for rule, nodes in violations(page)}
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        page.close()
    assert found == {}
