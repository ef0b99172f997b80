"""Five tasks of a newcomer, each done within four clicks from the start page (docs/guide/page.md)."""

from dataclasses import replace

import pytest
from page_actions import answers
from playwright.sync_api import expect

from run_stand_ins import RunStandIn
from turnwise.app.chat_services import open_chat_service
from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

MAX_CLICKS = 4


@pytest.fixture(scope="module")
def model():
    with open_chat_service(max_num_seqs=2) as service:
        yield service


@pytest.fixture
def manager():
    return RunStandIn()


@pytest.fixture
def server_url(services, manager, model, store):
    services["tiny"] = replace(model, name="tiny", store=store)
    with serve_in_thread(create_app(services, default="scripted", auto_titles=False, runs=manager)) as url:
        yield url
    del services["tiny"]


class CountingPage:
    """A page, and the clicks of the user on it."""

    def __init__(self, page):
        self.page, self.num_clicks = page, 0

    def click(self, role, name, **options):
        self.click_on(self.page.get_by_role(role, name=name, **options))

    def click_on(self, locator):
        self.num_clicks += 1
        locator.click()


@pytest.fixture
def start_page(visit, script_answers, store):
    """The start page of somebody who has chatted before. At the end, the clicks are counted."""
    for title, question in (("Tea", "Is there green tea?"), ("Cake", "How long does a cake keep?")):
        id = store.create(title=title, model="tiny").id
        messages = [Message("user", question), Message("assistant", "Yes, three days.")]
        store.append(id, messages, {"finish": "stop", "model": "tiny", "consent": "full"})
    counting = CountingPage(visit())
    counting.page.set_default_timeout(30_000)  # a model answers
    yield counting
    assert 1 <= counting.num_clicks <= MAX_CLICKS


def test_finding_an_old_chat(start_page):
    start_page.click_on(start_page.page.locator("#history-search"))
    start_page.page.keyboard.type("three days")
    start_page.click_on(start_page.page.locator(".history-match", has_text="three days").first)
    expect(answers(start_page.page)).to_have_text("Yes, three days.")


def test_comparing_two_models(start_page, store):
    start_page.click("link", "Playground")
    start_page.page.wait_for_selector("body[data-ready]")
    start_page.click_on(start_page.page.locator("#playground-text"))
    start_page.page.keyboard.type("Hello")
    start_page.page.keyboard.press("Enter")
    start_page.click("button", "Left is better")
    expect(start_page.page.get_by_role("button", name="Take the last choice back")).to_be_visible()
    assert store.comparisons.list()[0]


def test_correcting_an_answer(start_page, store):
    start_page.click("button", "Cake", exact=True)
    start_page.click("button", "It should have said…")
    area = start_page.page.get_by_label("What the answer should have been")
    expect(area).to_be_focused()
    area.fill("Two days.")
    start_page.click("button", "Save the correction")
    expect(start_page.page.locator("#status")).to_have_text("The correction is saved.")
    assert [entry.content.correction for entry in store.feedback.list()[0]] == ["Two days."]


def test_seeing_why_a_word_was_chosen(start_page):
    start_page.click("button", "Cake", exact=True)
    start_page.click("button", "Why these words?")
    start_page.click_on(start_page.page.locator("#token-panel .token-choice").nth(1))
    expect(start_page.page.locator("#token-panel")).to_contain_text("Place 1 of")


def test_starting_a_fine_tuning(start_page, manager):
    start_page.click("link", "Train")
    start_page.click("button", "Start", exact=True)
    expect(start_page.page.locator("#runs-list > li").first).to_be_visible()
    assert len(manager.started) == 1
