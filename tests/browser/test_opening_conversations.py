"""While another conversation loads, nothing is sent or stored in the previous one; text is sent to the loaded one."""

import pytest
from page_actions import answers, send, texts
from playwright.sync_api import expect

from turnwise.core.messages import Message


@pytest.fixture
def conversations(store):
    """Two conversations with one question and its answer each."""
    ids = []
    for title in ("first", "second"):
        ids.append(store.create(title=title, model="scripted").id)
        store.append(ids[-1], [Message("user", f"{title}?"), Message("assistant", f"{title}!")])
    return ids


@pytest.fixture
def held(visit, conversations):
    """The page with the first conversation, and the held requests that load the second one, after a click on it."""
    first, second = conversations
    page, requests = visit(f"/#{first}"), []
    page.route(f"**/v1/conversations/{second}", lambda route: requests.append(route))
    page.get_by_role("button", name="second", exact=True).click()
    expect(page.locator("#prompt")).to_have_value("")
    return page, requests


def stored_texts(store, id):
    return [entry.message.content for entry in store.get(id).tree]


def test_text_that_is_sent_while_a_conversation_loads_goes_to_it(held, store, conversations):
    page, requests = held
    page.fill("#prompt", "for the second")
    page.press("#prompt", "Enter")
    page.locator(".message.last").get_by_label("Answer again", exact=True).click()
    page.locator(".message.user").get_by_label("Edit and ask again").click()
    page.fill(".edit-area", "changed")
    page.press(".edit-area", "Enter")
    expect(page.locator("#prompt")).to_have_value("for the second")
    expect(page.locator("#stop")).to_be_hidden()
    requests[0].continue_()
    page.unroute_all()
    expect(page.locator("#title")).to_have_text("second")
    expect(page.locator("#prompt")).to_have_value("")
    expect(answers(page)).to_have_text(["second!", "Hello, you."])
    assert stored_texts(store, conversations[0]) == ["first?", "first!"]
    assert stored_texts(store, conversations[1]) == ["second?", "second!", "for the second", "Hello, you."]


def test_the_previous_conversation_stays_if_another_one_cannot_be_loaded(held, store, conversations):
    page, requests = held
    requests[0].abort()
    expect(page.locator("#banner")).to_contain_text("The server does not answer")
    assert texts(page) == ["first?", "first!"]
    page.unroute_all()
    send(page, "still here?")
    expect(answers(page)).to_have_text(["first!", "Hello, you."])
    assert stored_texts(store, conversations[0]) == ["first?", "first!", "still here?", "Hello, you."]
    assert stored_texts(store, conversations[1]) == ["second?", "second!"]


def test_an_answer_is_shown_again_if_another_conversation_cannot_be_loaded(visit, script_answers, conversations):
    script_answers(["slow ", "answer ", "complete"], delay=0.4)
    page = visit(f"/#{conversations[0]}")
    send(page, "go on")
    expect(page.locator(".message.assistant .body").last).to_contain_text("slow")
    page.route(f"**/v1/conversations/{conversations[1]}", lambda route: route.abort())
    page.get_by_role("button", name="second", exact=True).click()
    expect(page.locator("#banner")).to_contain_text("The server does not answer")
    expect(answers(page)).to_have_text(["first!", "slow answer complete"])
    expect(page.locator("#banner")).to_contain_text("The server does not answer")
