"""The hand-off page: queue, conversation, answers and the return, by keyboard, without markup from texts."""

import pytest
from playwright.sync_api import expect

from service_scenarios import write_scenario
from turnwise.app.scenario_services import add_service_path
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.core.handoffs import HandoffRequest
from turnwise.core.messages import Message
from turnwise.scenarios.scenario_library import ScenarioLibrary
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"


@pytest.fixture
def store(tmp_path):
    opened = open_store(f"sqlite:///{tmp_path / 'chats.db'}")
    yield opened
    opened.close()


@pytest.fixture
def server_url(store):
    app = create_app({"scripted": ScriptedChatService(store=store)}, default="scripted", has_handoffs=True)
    with serve_in_thread(app) as url:
        yield url


@pytest.fixture
def script_answers():
    """These tests have no chat."""


@pytest.fixture
def open_handoff(store):
    """`open_handoff(text)`: a customer who waits; returns the conversation and the hand-off."""

    def open_handoff(text="My lamp is broken."):
        id = store.create(title="", model="scripted").id
        store.append(id, [Message("user", text), Message("assistant", "I do not know.")])
        summary = f"“{text}”\nintent: broken (42%)"
        return id, store.handoffs.open(HandoffRequest(id, "no_answer", summary, ("knowledge", "clarify")))

    return open_handoff


@pytest.fixture
def visit_queue(visit):
    def open_page(path="/handoffs", **settings):
        page = visit(path, **settings)
        page.set_default_timeout(30_000)
        return page

    return open_page


def take_over(page, name="Ana"):
    page.get_by_label("Your name").fill(name)
    page.locator(".queue-entry a").first.click()
    page.get_by_role("button", name="Take over").click()
    expect(page.get_by_label("Answer")).to_be_visible()


def test_a_person_takes_over_answers_and_gives_the_conversation_back(visit_queue, store, open_handoff):
    conversation, handoff = open_handoff()
    page = visit_queue()
    expect(page.get_by_role("heading", name="Queue, 1 waiting")).to_be_visible()
    take_over(page)
    expect(page.locator("#handoff-summary")).to_have_text("“My lamp is broken.”\nintent: broken (42%)")
    expect(page.locator("#handoff-attempts li")).to_have_text(["knowledge", "clarify"])
    page.get_by_label("Answer").fill("Hello, I am a person.")
    page.get_by_role("button", name="Send").click()
    last = page.locator(".handoff-message").last
    expect(last.locator(".handoff-text")).to_have_text("Hello, I am a person.")
    expect(last.locator(".handoff-author")).to_have_text("Ana")
    store.handoffs.receive(conversation, [Message("user", "Great.")])
    expect(page.locator(".handoff-message.from-customer").last.locator(".handoff-text")).to_have_text("Great.")
    page.get_by_role("button", name="Give back to the assistant").click()
    expect(page.locator("#handoff-state")).to_contain_text("given back")
    expect(page.get_by_label("Answer")).to_be_hidden()
    expect(page.locator("#queue-empty")).to_be_visible()
    assert store.handoffs.get(handoff.id).state == "returned"


def test_buttons_are_shown_when_they_can_act(visit_queue, open_handoff):
    _, handoff = open_handoff()
    page, held = visit_queue(), []
    page.get_by_label("Your name").fill("Ana")
    page.route(f"**/v1/handoffs/{handoff.id}?*", lambda route: held.append(route))
    with page.expect_request(f"**/v1/handoffs/{handoff.id}?*"):
        page.locator(".queue-entry a").click()
    expect(page.get_by_role("button", name="Take over")).to_be_hidden()
    held[0].continue_()
    page.unroute_all()
    page.get_by_role("button", name="Take over").click()
    expect(page.get_by_label("Answer")).to_be_visible()


def test_texts_are_never_markup(visit_queue, open_handoff):
    open_handoff(HOSTILE)
    page = visit_queue()
    take_over(page, name="<b>Ana</b>")
    expect(page.locator(".handoff-text").first).to_have_text(HOSTILE)
    expect(page.locator("#handoff-state")).to_contain_text("<b>Ana</b>")
    assert page.locator("main img, main script, main b").count() == 0
    expect(page).to_have_title("Hand-offs – Turnwise")  # without the number of those who wait, once it is refreshed


def test_the_keyboard_suffices(visit_queue, store, open_handoff):
    conversation, _ = open_handoff()
    page = visit_queue()
    page.get_by_label("Your name").focus()
    page.keyboard.type("Ana")
    page.locator(".queue-entry a").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#handoff-title")).to_be_focused()
    page.get_by_role("button", name="Take over").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Answer")).to_be_focused()
    page.keyboard.type("By keyboard.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".handoff-text").last).to_have_text("By keyboard.")
    expect(page.get_by_label("Answer")).to_have_value("")
    assert store.get(conversation).messages[-1].message.content == "By keyboard."


def test_a_new_customer_appears_and_is_announced_to_screen_readers(visit_queue, open_handoff):
    page = visit_queue()
    expect(page.locator("#queue-empty")).to_be_visible()
    open_handoff()
    expect(page.locator("#status")).to_have_text("A customer waits for a person. 1 waiting.")
    expect(page).to_have_title("(1) Hand-offs – Turnwise")
    assert page.locator("#handoff-messages").get_attribute("role") == "log"


def test_a_second_person_sees_that_somebody_else_speaks(visit_queue, open_handoff):
    _, handoff = open_handoff()
    first, second = visit_queue(), visit_queue(f"/handoffs#{handoff.id}")
    take_over(first)
    expect(second.locator("#handoff-state")).to_contain_text("with a person · Ana")
    expect(second.get_by_label("Answer")).to_be_hidden()
    expect(second.get_by_role("button", name="Take over")).to_be_hidden()


def test_a_reload_keeps_the_claim_and_a_name_is_required(visit_queue, open_handoff):
    open_handoff()
    page = visit_queue()
    page.locator(".queue-entry a").first.click()
    page.get_by_role("button", name="Take over").click()
    expect(page.locator("#banner-text")).to_contain_text("Enter your name")
    expect(page.get_by_label("Your name")).to_be_focused()
    take_over(page)
    page.reload()
    expect(page.get_by_label("Answer")).to_be_visible()
    expect(page.get_by_label("Your name")).to_have_value("Ana")


@pytest.fixture
def shop_url(tmp_path, store):
    """A server whose default scenario is the shop."""
    write_scenario(tmp_path / "scenarios" / "shop")
    services = add_service_path(
        {"scripted": ScriptedChatService(store=store)}, ScenarioLibrary([tmp_path / "scenarios"]),
        default_scenario="shop", resources=ResourceCache(waits=True),
    )  # fmt: skip
    with serve_in_thread(create_app(services, default="scripted", has_handoffs=True)) as url:
        yield url


def test_a_customer_on_the_chat_page_talks_to_a_person_and_then_to_the_model(browser, shop_url, store):
    customer, agent = (browser.new_page() for _ in range(2))
    for page, path in ((customer, "/"), (agent, "/handoffs")):
        page.set_default_timeout(30_000)
        page.goto(shop_url + path)
        page.wait_for_selector("body[data-ready]")

    def write(text):
        customer.locator("#prompt").fill(text)
        customer.keyboard.press("Enter")

    messages = customer.locator("#thread .message")
    customer.locator("#prompt").focus()
    write("I want to talk to a person")
    expect(messages.last).to_contain_text("A colleague takes over now.", timeout=30_000)
    take_over(agent)
    expect(messages.last).to_contain_text("Ana has joined the conversation.", timeout=30_000)
    agent.get_by_label("Answer").fill("Hello, I am Ana.")
    agent.get_by_role("button", name="Send").click()
    expect(messages.last).to_contain_text("Hello, I am Ana.", timeout=30_000)
    write("Good that you are here")
    expect(agent.locator(".handoff-text").last).to_have_text("Good that you are here", timeout=30_000)
    expect(messages.last).to_contain_text("Good that you are here")
    agent.get_by_role("button", name="Give back to the assistant").click()
    expect(messages.last).to_contain_text("The assistant answers again.", timeout=30_000)
    write("can I have a discount")
    expect(messages.last).to_contain_text("I cannot give discounts.", timeout=30_000)
    for page in (customer, agent):
        page.close()
