"""The monitor page: trends, alerts and their texts, refreshed in place, without markup from texts or topics."""

from dataclasses import replace

import pytest
from playwright.sync_api import expect

from monitor_stand_ins import open_test_pipeline, text
from turnwise.core.errors import Unavailable
from turnwise.server.app import create_app
from turnwise.store import open_monitor_reader, open_monitor_store
from turnwise.testing import ScriptedChatService, serve_in_thread

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"
HOSTILE_TOPIC = "\"'><script>document.title='hacked'</script>"
REFRESH_MS = 15_000


class SwitchedReader:
    """The reader of a store, or an error."""

    def __init__(self, reader):
        self.reader, self.error = reader, None

    def __getattr__(self, name):
        if self.error is not None:
            raise self.error
        return getattr(self.reader, name)


def surge(start, topic, number=6):
    """Texts of one window, of which the last is a copy of the first, with a quiet window before."""
    texts = [
        replace(
            text(start + 8 * index, f"sell {topic} {HOSTILE} {start} {index}"), topics=(topic,), sentiment="bearish"
        )
        for index in range(number)
    ]
    return [*texts, replace(texts[0], id=f"copy{start}", text=texts[0].text.upper(), time=texts[0].time + 50)]


@pytest.fixture
def store(tmp_path):
    opened = open_monitor_store(f"sqlite:///{tmp_path / 'monitor.db'}")
    yield opened
    opened.close()


@pytest.fixture
def pipeline(store):
    """A pipeline that has processed a surge that is over, and one of a hostile topic that lasts."""
    opened = open_test_pipeline(store)
    opened.process([*surge(0, "Acme"), text(120, "acme is quiet"), text(240, "acme"), *surge(600, HOSTILE_TOPIC)])
    opened.process([text(700, "later", topics=("Globex",))])
    return opened


@pytest.fixture
def reader(store, pipeline):
    return SwitchedReader(open_monitor_reader(f"sqlite:///{store._path}"))


@pytest.fixture
def server_url(reader):
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted", monitor=reader)) as url:
        yield url


@pytest.fixture
def script_answers():
    """These tests have no chat."""


@pytest.fixture
def visit_monitor(visit):
    """Open the page with a clock that the test moves."""

    def open_page(path="/monitor", **settings):
        page = visit("/health", ready=False, **settings)
        page.set_default_timeout(30_000)
        page.clock.install()
        page.goto(page.url.removesuffix("/health") + path)
        page.wait_for_selector("body[data-ready]")
        return page

    return open_page


def refresh(page):
    with page.expect_response("**/v1/monitor/alerts?*"):
        page.clock.fast_forward(REFRESH_MS + 500)


def assert_no_markup(page):
    page.wait_for_timeout(100)
    assert page.locator("main img, main script, main iframe").count() == 0
    assert page.title() in ("Text monitor – Turnwise", "(2) Text monitor – Turnwise")


def test_alerts_and_trends_are_text_even_if_they_look_like_markup(visit_monitor):
    page = visit_monitor()
    expect(page.locator(".alert")).to_have_count(4)  # volume and negative share of either topic
    expect(page.locator(".alert.is-open")).to_have_count(2)
    expect(page.locator("#alerts-title")).to_have_text("Alerts, 2 open")
    expect(page.locator(".alert").first.locator(".alert-topic")).to_have_text(HOSTILE_TOPIC)
    expect(page.locator(".alert").first.locator(".badge")).to_have_text("open")
    expect(page.locator(".topic h3")).to_have_text([HOSTILE_TOPIC, "Acme", "Globex"])
    expect(page.locator(".topic").first.locator(".fine-print")).to_have_text("6 texts · 1 copy · 100 % negative")
    page.locator(".alert-head").first.click()
    detail = page.locator(".alert").first.locator(".alert-detail")
    expect(detail.locator(".alert-text")).to_have_count(6)
    expect(detail.locator("h3")).to_have_text("7 stored texts, 6 without copies")
    expect(detail.locator(".alert-text p").first).to_have_text(f"sell {HOSTILE_TOPIC} {HOSTILE} 600 0")
    expect(detail.locator(".alert-text .fine-print").first).to_contain_text("test · bearish · 1 copy")
    expect(detail.locator(".alert-summary")).to_contain_text(f"about {HOSTILE_TOPIC}")
    expect(detail.locator("dl")).to_contain_text("still open")
    assert_no_markup(page)


def test_a_trend_is_described_for_those_who_do_not_see_it(visit_monitor):
    page = visit_monitor()
    trend = page.get_by_role("img", name="Trend of Acme")
    description = trend.get_attribute("aria-label")
    assert description == (
        "Trend of Acme: 8 texts without copies, the most at 2023-11-14 22:00 UTC: 8 (expected 18). Negative "
        "share 75 %, the highest at 2023-11-14 22:00 UTC: 75 %."
    )
    volume = trend.locator(".trend-volume").get_attribute("d")
    assert volume.count("L") == 23, "one point an hour"
    page.select_option("#monitor-period", "6 hours")
    expect(page.get_by_role("img", name="the most at 2023-11-14 22:00 UTC: 8").or_(
        page.get_by_role("img", name="Trend of Acme: 8 texts"))).to_have_count(1)  # fmt: skip
    expect(trend.locator(".trend-volume")).not_to_have_attribute("d", volume)


def test_what_was_expected_is_drawn_and_listed_beside_the_counts(visit_monitor, pipeline):
    page = visit_monitor()
    topic = page.locator(".topic").filter(has=page.get_by_role("heading", name="Acme", exact=True))
    assert topic.locator(".trend-expected").get_attribute("d").startswith("M"), "the newest hour"
    assert topic.locator(".trend-threshold").get_attribute("d") == "", "no alert is about an hour of these windows"
    topic.locator("summary").click()
    cells = topic.locator("tbody tr").first.locator("td")
    expect(cells).to_have_text(["8", "18", "–", "75 %", "75 %"])
    expect(topic.locator("tbody tr")).to_have_count(24)
    pipeline.process([text(900, "acme opens a plant in Norway"), text(1200, "acme")])
    refresh(page)
    expect(cells.nth(0)).to_have_text("9")
    expect(topic.locator("table")).to_be_visible()
    assert page.locator("table").count() == 1, "the tables of other topics are not made"


def test_a_refresh_changes_the_opened_numbers_in_place(visit_monitor, pipeline):
    page = visit_monitor(viewport={"width": 360, "height": 300})
    topic = page.locator(".topic").filter(has=page.get_by_role("heading", name="Acme", exact=True))
    summary = topic.locator("summary")
    summary.click()
    numbers = topic.locator("details")
    expect(topic.locator("tbody tr")).to_have_count(24)
    numbers.evaluate("element => { element.style.width = '150px'; element.scrollLeft = 40; }")
    assert numbers.evaluate("element => element.scrollLeft") == 40, "the table is wider than its place"
    topic.locator("tbody tr").nth(3).evaluate("row => row.isSameElement = true")
    topic.locator("tbody tr").nth(12).scroll_into_view_if_needed()
    position = numbers.bounding_box()["y"]
    assert page.evaluate("scrollY") > 100
    busy = [text(900 + second, f"new orders {second}", topics=("Globex",)) for second in range(40)]
    pipeline.process([*busy, text(950, "acme opens a plant in Norway"), text(1200, "acme")])
    refresh(page)
    expect(topic.locator("tbody tr").first.locator("td").first).to_have_text("9")
    expect(page.locator(".topic h3").first).to_have_text("Globex")
    assert numbers.evaluate("element => element.scrollLeft") == 40
    assert numbers.bounding_box()["y"] == pytest.approx(position, abs=2)
    assert topic.locator("tbody tr").nth(3).evaluate("row => row.isSameElement")
    assert page.evaluate("document.activeElement.textContent") == "Numbers"


def test_a_topic_that_moves_keeps_the_focus(visit_monitor, pipeline):
    page = visit_monitor()
    page.locator(".topic").filter(has=page.get_by_role("heading", name="Globex")).locator("summary").focus()
    pipeline.process([*surge(900, "Globex", 40), text(1200, "acme")])
    refresh(page)
    expect(page.locator(".topic h3").first).to_have_text("Globex")
    assert page.evaluate("document.activeElement.closest('.topic').querySelector('h3').textContent") == "Globex"


def test_a_refresh_keeps_the_opened_alert_the_focus_and_the_scroll_position(visit_monitor, pipeline):
    page = visit_monitor(viewport={"width": 900, "height": 400})
    opened = page.locator(".alert").nth(2)
    topic = opened.locator(".alert-topic").text_content()
    opened.locator(".alert-head").click()
    expect(opened.locator(".alert-text").first).to_be_visible()
    opened.locator(".alert-text").nth(3).scroll_into_view_if_needed()
    head = page.locator("[aria-expanded=true]")
    before = head.bounding_box()["y"]
    assert page.evaluate("scrollY") > 100
    pipeline.process([*surge(900, "Acme"), text(1200, "acme")])
    refresh(page)
    expect(page.locator(".alert")).to_have_count(6)
    expect(head).to_have_count(1)
    assert head.bounding_box()["y"] == pytest.approx(before, abs=2)
    assert head.locator(".alert-topic").text_content() == topic
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.reload()
    page.wait_for_selector("body[data-ready]")
    expect(head.locator(".alert-topic")).to_have_text(topic)
    expect(page.locator("[aria-expanded=true] + .alert-detail .alert-text")).to_have_count(6)


def test_an_opened_alert_shows_new_texts_when_it_closes(visit_monitor, pipeline):
    page = visit_monitor()
    row = page.locator(".alert").first
    row.locator(".alert-head").click()
    expect(row.locator("h3")).to_have_text("7 stored texts, 6 without copies")
    late = text(665, f"sell {HOSTILE_TOPIC} once more", topics=(HOSTILE_TOPIC,), sentiment="bearish")
    pipeline.process([late, text(900, "acme")])
    refresh(page)
    expect(row.locator("dl")).not_to_contain_text("still open")
    expect(row.locator("h3")).to_have_text("8 stored texts, 7 without copies")
    expect(page.locator(".badge")).to_have_count(0)


def test_an_error_leaves_what_was_read_and_goes_with_the_next_refresh(visit_monitor, reader):
    page = visit_monitor()
    reader.error = Unavailable("The monitor store is busy.")
    refresh(page)
    expect(page.locator("#banner-text")).to_contain_text(
        "The monitor store is busy. The page shows what it read before"
    )
    expect(page.locator(".alert")).to_have_count(4)
    reader.error = None
    refresh(page)
    expect(page.locator("#banner")).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_a_phone_screen_in_light_and_dark(visit_monitor, theme):
    page = visit_monitor(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True, color_scheme=theme)
    page.locator(".alert-head").first.click()
    expect(page.locator(".alert-text").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    luminance = "getComputedStyle({}).{}.match(/[0-9]+/g).slice(0, 3).reduce((sum, value) => sum + Number(value), 0)"
    background = page.evaluate(luminance.format("document.body", "backgroundColor"))
    stroke = page.evaluate(luminance.format("document.querySelector('.trend-volume')", "stroke"))
    assert (background > 600) == (theme == "light")
    assert abs(background - stroke) > 200, "the line is visible"


def test_empty_states_say_what_to_do(visit_monitor, store, tmp_path, reader):
    empty = open_monitor_store(f"sqlite:///{tmp_path / 'empty.db'}")
    reader.reader = open_monitor_reader(f"sqlite:///{tmp_path / 'empty.db'}")
    page = visit_monitor()
    expect(page.locator("#monitor-empty")).to_contain_text(
        "There are no counts yet. Start a monitor: turnwise monitor run"
    )
    open_test_pipeline(empty).process([text(0)])
    refresh(page)
    expect(page.locator("#monitor-empty")).to_be_hidden()
    expect(page.locator("#alerts-empty")).to_contain_text("There are no alerts.")
    empty.close()


def test_the_chat_page_links_to_it_if_there_is_a_monitor(visit):
    page = visit("/")
    page.get_by_role("link", name="Monitor").click()
    page.wait_for_url("**/monitor")
    expect(page.locator(".alert")).to_have_count(4)


def test_a_server_without_a_monitor_says_how_to_start_one(browser):
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted")) as url:
        page = browser.new_page()
        page.goto(f"{url}/monitor")
        expect(page.locator("#banner-text")).to_contain_text("turnwise serve --monitor FILE")
        page.close()
