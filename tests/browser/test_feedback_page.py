"""Feedback on the chat page: thumbs, reasons and corrections, by mouse and by keyboard."""

import pytest
from page_actions import answers, send
from playwright.sync_api import expect


@pytest.fixture
def page(visit, script_answers):
    script_answers(["Hello, ", "you."])
    page = visit()
    send(page, "Hi")
    expect(thumb(page, "Bad answer")).to_be_visible()
    return page


def thumb(page, label, position=0):
    return page.get_by_role("button", name=label).nth(position)


def stored(store):
    return [(entry.content.rating, entry.content.tags, entry.content.correction) for entry in store.feedback.list()[0]]


def status(page, text):
    expect(page.locator("#status")).to_have_text(text)


def test_a_thumb_is_stored_shown_and_taken_back(page, store):
    thumb(page, "Good answer").click()
    expect(thumb(page, "Good answer")).to_have_attribute("aria-pressed", "true")
    status(page, "Rated.")
    assert stored(store) == [(1, (), None)]
    page.reload()
    expect(thumb(page, "Good answer")).to_have_attribute("aria-pressed", "true")
    thumb(page, "Good answer").click()
    expect(thumb(page, "Good answer")).to_have_attribute("aria-pressed", "false")
    status(page, "The feedback is deleted.")
    assert stored(store) == []


def test_taking_back_a_changed_rating_leaves_none(page, store):
    thumb(page, "Good answer").click()
    status(page, "Rated.")
    thumb(page, "Bad answer").click()
    expect(thumb(page, "Good answer")).to_have_attribute("aria-pressed", "false")
    expect(thumb(page, "Bad answer")).to_have_attribute("aria-pressed", "true")
    thumb(page, "Bad answer").click()
    status(page, "The feedback is deleted.")
    assert stored(store) == []


def test_a_thumb_down_asks_for_reasons_and_works_with_the_keyboard_alone(page, store):
    thumb(page, "Bad answer").focus()
    page.keyboard.press("Enter")
    reasons = page.get_by_role("group", name="What was wrong?")
    expect(reasons).to_be_visible()
    expect(thumb(page, "Bad answer")).to_be_focused()
    reasons.get_by_role("button", name="too long").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the next reason
    reasons.get_by_role("button", name="Save the reasons").focus()
    page.keyboard.press("Enter")
    status(page, "The reasons are saved.")
    expect(reasons).to_have_count(0)
    assert stored(store)[-1] == (-1, ("too_long", "too_short"), None)


def test_escape_closes_the_reasons_and_keeps_the_rating(page, store):
    thumb(page, "Bad answer").click()
    page.get_by_role("button", name="unsafe").focus()
    page.keyboard.press("Escape")
    expect(page.get_by_role("group", name="What was wrong?")).to_have_count(0)
    assert stored(store) == [(-1, (), None)]


def test_a_correction_starts_with_the_text_of_the_answer(page, store):
    page.get_by_role("button", name="It should have said…").click()
    area = page.get_by_label("What the answer should have been")
    expect(area).to_be_focused()
    expect(area).to_have_value("Hello, you.")
    area.fill("Good morning.")
    page.keyboard.press("Control+Enter")
    status(page, "The correction is saved.")
    expect(answers(page)).to_have_text("Hello, you.")
    assert stored(store) == [(None, (), "Good morning.")]
    (collected,) = store.collected_answers.answers()
    assert collected.preferred[0].answer.content == "Good morning."
    page.get_by_role("button", name="It should have said…").click()
    expect(area).to_have_value("Good morning.")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="It should have said…")).to_be_focused()


def test_answers_with_a_stricter_consent_take_no_text_or_no_feedback(visit, store):
    from turnwise.core.messages import Message

    for consent in ("metadata", "off"):
        id = store.create(title=consent, model="scripted").id
        store.append(id, [Message("user", "Hi")])
        store.append(id, [Message("assistant", "Hello.")], {"finish": "stop", "consent": consent})
        page = visit(f"/#{id}")
        expect(answers(page)).to_have_text("Hello.")
        expect(thumb(page, "Good answer")).to_have_count(int(consent == "metadata"))
        expect(page.get_by_role("button", name="It should have said…")).to_have_count(0)


def test_a_failure_is_shown_and_can_be_repeated(page, store):
    page.route("**/v1/feedback", lambda route: route.abort())
    thumb(page, "Good answer").click()
    expect(page.locator("#banner")).to_contain_text("does not answer")
    expect(thumb(page, "Good answer")).to_have_attribute("aria-pressed", "false")
    page.unroute("**/v1/feedback")
    page.locator("#banner-retry").click()
    expect(thumb(page, "Good answer")).to_have_attribute("aria-pressed", "true")
    assert stored(store) == [(1, (), None)]
