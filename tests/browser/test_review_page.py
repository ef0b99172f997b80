"""The review page: verdicts by keyboard, corrections, skipping, undoing, and hostile texts."""

import re

import pytest
from playwright.sync_api import expect

from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"


@pytest.fixture
def add_answer(store):
    def add(text, question="Hi"):
        id = store.create(title="", model="m").id
        store.append(id, [Message("user", question)], {"consent": "full"})
        (answer,) = store.append(id, [Message("assistant", text)], {"finish": "stop", "model": "m", "consent": "full"})
        store.feedback.add(AnswerReference("message", answer), NewFeedback(-1, user="ann"))

    return add


def verdicts(store):
    return [
        (entry.content.rating, entry.content.tags, entry.content.correction, entry.content.user)
        for entry in store.feedback.list()[0]
        if entry.content.role == "reviewer"
    ]


def shows(page, text):
    expect(page.locator("#review-answer")).to_have_text(text)


def test_answers_are_reviewed_with_single_keys(visit, store, add_answer):
    for text in ("one", "two", "three", "four"):
        add_answer(text)
    page = visit("/review")
    shows(page, "four")
    expect(page.locator("#review-reason")).to_have_text("Somebody did not like this answer")
    page.keyboard.press("g")
    shows(page, "three")
    page.keyboard.press("1")
    page.keyboard.press("3")
    page.keyboard.press("b")
    shows(page, "two")
    page.keyboard.press("s")
    shows(page, "one")
    page.keyboard.press("c")
    page.keyboard.press("Control+A")
    page.keyboard.type("Better.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#review-empty")).to_be_visible()
    expect(page.locator("#review-progress")).to_contain_text("3 reviewed")
    assert verdicts(store) == [
        (1, (), None, None), (-1, ("wrong", "off_topic"), None, None), (-1, (), "Better.", None),
    ]  # fmt: skip


def test_a_verdict_can_be_undone(visit, store, add_answer):
    add_answer("one")
    page = visit("/review")
    page.keyboard.press("g")
    expect(page.locator("#review-empty")).to_be_visible()
    page.keyboard.press("u")
    shows(page, "one")
    assert verdicts(store) == []


def test_a_verdict_is_sent_once_if_the_next_answer_cannot_be_loaded(visit, store, add_answer):
    for text in ("one", "two"):
        add_answer(text)
    page = visit("/review")
    shows(page, "two")
    page.route("**/v1/review?*", lambda route: route.abort("connectionrefused"))
    page.keyboard.press("g")
    expect(page.locator("#banner")).to_contain_text("does not answer")
    page.unroute("**/v1/review?*")
    page.locator("#banner-retry").click()
    shows(page, "one")
    assert len(verdicts(store)) == 1


def test_letters_in_the_correction_are_no_verdicts(visit, store, add_answer):
    add_answer("one")
    page = visit("/review")
    page.keyboard.press("c")
    page.keyboard.type("gbs")
    page.keyboard.press("Escape")
    expect(page.locator("#review-correction-form")).to_be_hidden()
    shows(page, "one")
    assert verdicts(store) == []


def test_two_reviewers_see_their_agreement(visit, store, add_answer):
    for text in ("one", "two"):
        add_answer(text)
    for name, keys in (("Eve", "gb"), ("Bob", "gg")):
        page = visit("/review")
        page.fill("#review-reviewer", name)
        page.keyboard.press("Enter")
        page.locator("#review-reviewer").blur()
        shows(page, "two")
        for key in keys:
            page.keyboard.press(key)
            expect(page.locator("#review-progress")).to_contain_text("reviewed")
            expect(page.locator("#review-answer")).not_to_have_text(re.compile("^two"))
        expect(page.locator("#review-empty")).to_be_visible()
    expect(page.locator("#agreement tbody tr")).to_contain_text("50 %")
    assert {user for *_, user in verdicts(store)} == {"Eve", "Bob"}


def test_texts_are_no_markup(visit, add_answer):
    add_answer(HOSTILE, HOSTILE)
    page = visit("/review")
    expect(page.locator("#review-history")).to_contain_text(HOSTILE)
    assert page.title() == "Review – Turnwise"
