"""At a zoom of 200 % every control of every page can be reached: nothing is cut off, covered or too wide."""

import pytest
from administration import add_usage, open_registry, open_site
from page_actions import send
from page_samples import serve_all_pages
from playwright.sync_api import expect

# A window of 1280 × 800 pixels.
ZOOMED = {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2, "reduced_motion": "reduce"}
VIEWS = ("/", "/playground", "/review", "/improve", "/data", "/runs", "/versions", "/keys", "/docs")
SPECIAL_VIEWS = ("/classify", "/monitor", "/handoffs")
CONTROLS = "a[href], button, input:not([type=hidden], [type=file]), select, textarea, summary, [tabindex='0']"
# Controls whose middle, or that of their label, is outside the window or under something else.
UNREACHABLE = """([selector, part]) => [...document.querySelectorAll(`${part} :is(${selector})`)].filter((control) => {
    if (control.disabled || control.closest("[inert], [aria-hidden=true]")) return false;
    if (!control.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    if (control.classList.contains("skip")) return false; // it is shown when it has the focus
    const isReached = (element) => {
        element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
        const { left, right, top, bottom } = element.getClientRects()[0] ?? element.getBoundingClientRect();
        const [x, y] = [(left + right) / 2, (Math.max(top, 0) + Math.min(bottom, innerHeight)) / 2];
        const hit = document.elementFromPoint(x, y);
        return hit !== null && (element.contains(hit) || hit.contains(element) && hit.matches("label, summary"));
    };
    return ![control, ...(control.labels ?? [])].some(isReached);
}).map((control) => control.id || control.ariaLabel || control.textContent.trim() || control.outerHTML)"""


@pytest.fixture
def server_url(services, store, tmp_path):
    """A server that has versions, and usage of a key; it needs no key."""
    add_usage(tmp_path / "keys.db", "shop")
    with open_site(tmp_path, store, services, open_registry()) as url:
        yield url


def problems(page, part="body"):
    found = page.evaluate(UNREACHABLE, [CONTROLS, part])
    width = page.evaluate("document.documentElement.scrollWidth")
    return [*found, *([f"{width} pixels wide"] if width > ZOOMED["viewport"]["width"] else [])]


@pytest.mark.costly
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_every_control_of_a_page_can_be_reached(visit, locale):
    page = visit("/", locale=locale, **ZOOMED)
    found = {}
    for view in VIEWS:
        page.goto(page.url.rstrip("/") + view if view == "/" else "/".join(page.url.split("/")[:3]) + view)
        page.wait_for_load_state("networkidle")
        found[view] = problems(page)
    assert found == {view: [] for view in VIEWS}


@pytest.mark.costly
def test_every_control_of_a_page_for_a_special_task_can_be_reached(browser, tmp_path):
    found = {}
    with serve_all_pages(tmp_path) as url:
        page = browser.new_page(**ZOOMED)
        for view in SPECIAL_VIEWS:
            page.goto(url + view)
            page.wait_for_selector("body[data-ready]")
            found[view] = problems(page)
        page.close()
    assert found == {view: [] for view in SPECIAL_VIEWS}


PARTS = {
    "#controls": lambda page: page.click("#open-controls"),
    "#sidebar": lambda page: page.click("#open-sidebar"),
    "#palette": lambda page: page.keyboard.press("Control+k"),
    "#shortcuts": lambda page: page.get_by_label("Copy", exact=True).first.press("?"),
    ".tree-dialog": lambda page: page.click("#open-tree"),
}


@pytest.mark.costly
@pytest.mark.parametrize("part", PARTS)
def test_every_control_of_a_part_of_the_chat_page_can_be_reached(visit, script_answers, part):
    script_answers(["Some **text**.\n\n```python\nprint(1)\n```\n\n| a | b |\n| - | - |\n| 1 | 2 |"])
    page = visit("/", **ZOOMED)
    send(page, "Hello")
    page.wait_for_selector(".message.assistant:not(.growing) table")
    PARTS[part](page)
    expect(page.locator(part)).to_be_visible()
    assert problems(page, part) == []
