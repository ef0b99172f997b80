"""What a person does on the chat page."""

import re
import time

import pytest
from page_actions import answers, endless, send
from playwright.sync_api import expect

from turnwise.core.chat_response import ContextReport, ConversationSummary, Usage
from turnwise.core.messages import Message
from turnwise.core.sampling_presets import CHAT_MAX_TOKENS, CHAT_SAMPLING


def test_a_message_is_answered_as_a_stream(visit, talk):
    words = ["One ", "two ", "three ", "four ", "five ", "six."]
    chat = talk(words, delay=0.25)
    page = visit()
    expect(page.locator("#empty")).to_be_visible()
    send(page, "Count, please")
    expect(page.locator(".message.user .body")).to_have_text("Count, please")
    expect(page.locator(".message.growing .body")).to_contain_text("One")
    expect(page.locator("#stop")).to_be_visible()
    expect(answers(page)).to_have_text("One two three four five six.")
    expect(page.locator(".figures").last).to_have_text(re.compile(r"^6 tokens · [\d.]+ tokens/s$"))
    expect(page.locator("#send")).to_be_visible()
    expect(page.locator("#empty")).to_be_hidden()
    assert chat.requests[0].messages == (Message("user", "Count, please"),)
    assert chat.requests[0].conversation_id.startswith("conv_")


def test_the_second_turn_carries_the_first(visit, talk):
    chat = talk()
    page = visit()
    send(page, "one")
    expect(answers(page)).to_have_count(1)
    send(page, "two")
    expect(answers(page)).to_have_count(2)
    assert [m.content for m in chat.requests[1].messages] == ["one", "Hello, you.", "two"]
    assert chat.requests[0].conversation_id == chat.requests[1].conversation_id


def test_what_a_context_policy_did_is_a_line_above_the_answer(visit, talk):
    summary = ConversationSummary("About lamps.", 4, Usage(90, 30))
    talk(context=ContextReport("summarise", 4, summary))
    page = visit()
    send(page, "one")
    expect(page.locator(".message.assistant .note")).to_have_text("4 older messages were summarised")
    expect(page.locator(".message.user .note")).to_be_hidden()
    expect(page.locator(".figures").last).to_contain_text("4 tokens")  # of the answer, without the summary's
    expect(answers(page)).to_have_count(1)
    talk(context=ContextReport("drop_oldest", 1))
    send(page, "two")
    expect(page.locator(".message.assistant .note").last).to_have_text("1 older message was left out")


def test_pins_are_sent_back_with_a_conversation_that_is_opened_again(visit, talk, store):
    kept = store.create(title="Pinned", model="scripted")
    store.append(kept.id, [Message("user", "I am Ada.", pinned=True), Message("assistant", "Hello.")])
    chat = talk()
    page = visit(f"/#{kept.id}")
    send(page, "two")
    expect(answers(page)).to_have_count(2)
    assert [message.pinned for message in chat.requests[0].messages] == [True, False, False]
    assert [entry.message.pinned for entry in store.get(kept.id).messages] == [True, False, False, False]


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_cancels_and_keeps_what_was_said(visit, talk, store, how):
    chat = talk(endless, delay=0.05)
    page = visit()
    send(page, "go on")
    expect(page.locator(".message.growing .body")).to_contain_text("word word")
    page.click("#stop") if how == "button" else page.keyboard.press("Escape")
    expect(page.locator(".figures").last).to_have_text("stopped")
    expect(page.locator("#send")).to_be_visible()
    page.wait_for_timeout(300)
    assert chat.num_cancelled == 1
    [kept] = store.list()
    assert [m.message.role for m in store.get(kept.id).messages] == ["user", "assistant"]


def test_a_suggestion_starts_the_chat(visit, talk):
    chat = talk()
    page = visit()
    assert page.locator("#suggestions button").count() == 4
    page.click("text=Tell me a joke")
    expect(answers(page)).to_have_text("Hello, you.")
    assert chat.requests[0].messages[0].content == "Tell me a joke"


def test_history_survives_a_reload_and_can_be_opened_renamed_and_deleted(visit, talk, store):
    page = visit()
    send(page, "First chat")
    expect(answers(page)).to_have_count(1)
    page.keyboard.press("Alt+KeyN")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#prompt")).to_be_focused()
    send(page, "Second chat")
    expect(answers(page)).to_have_count(1)
    expect(page.locator(".history-open")).to_have_text(["Second chat", "First chat"])

    page.reload()
    expect(page.locator(".message.user .body")).to_have_text("Second chat")
    expect(page.locator("#title")).to_have_text("Second chat")
    page.click(".history-open:has-text('First chat')")
    expect(page.locator(".message.user .body")).to_have_text("First chat")
    expect(answers(page)).to_have_text("Hello, you.")

    row = page.locator(".history-row.current")
    row.hover()
    row.get_by_label("Rename").click()
    page.fill(".rename", "My orders")
    page.press(".rename", "Enter")
    expect(page.locator("#title")).to_have_text("My orders")
    assert {c.title for c in store.list()} == {"Second chat", "My orders"}

    row.hover()
    row.get_by_label("Delete").click()
    page.click("text=Keep it")
    assert len(store.list()) == 2
    row.hover()
    row.get_by_label("Delete").click()
    page.click("#confirm-yes")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator(".history-open")).to_have_text(["Second chat"])
    assert [c.title for c in store.list()] == ["Second chat"]


def test_retry_replaces_the_last_answer_also_in_the_store(visit, talk, store):
    numbers = iter(range(100))
    chat = talk(lambda turn: [f"answer {next(numbers)}"])
    page = visit()
    send(page, "hi")
    expect(answers(page)).to_have_text("answer 0")
    page.locator(".message.last").get_by_label("Answer again").click()
    expect(answers(page)).to_have_text("answer 1")
    assert len(chat.requests[1].messages) == 1
    [kept] = store.list()
    assert [m.message.content for m in store.get(kept.id).messages] == ["hi", "answer 1"]


def test_editing_an_earlier_message_drops_what_came_after(visit, talk, store):
    chat = talk(lambda turn: [f"re: {turn.messages[-1].content}"])
    page = visit()
    send(page, "one")
    expect(answers(page)).to_have_count(1)
    send(page, "two")
    expect(answers(page)).to_have_count(2)
    first = page.locator(".message.user").first
    first.hover()
    first.get_by_label("Edit and ask again").click()
    page.press(".edit-area", "Escape")
    expect(first.locator(".body")).to_have_text("one")
    first.hover()
    first.get_by_label("Edit and ask again").click()
    page.fill(".edit-area", "eins")
    page.press(".edit-area", "Enter")
    expect(answers(page)).to_have_text(["re: eins"])
    assert chat.requests[-1].messages == (Message("user", "eins"),)
    [kept] = store.list()
    assert [m.message.content for m in store.get(kept.id).messages] == ["eins", "re: eins"]


def test_the_controls_reach_the_request_and_are_remembered(visit, talk):
    chat = talk(defaults={"temperature": 0.7})
    page = visit()
    page.click("#open-controls")
    expect(page.locator("#control-temperature")).to_have_value("0.7")
    expect(page.locator("#control-temperature-help")).to_contain_text("0 is greedy decoding")
    assert page.locator(".control").count() == 6
    page.locator("#control-temperature").fill("0.2")
    page.fill("#control-top_k", "40")
    page.fill("#control-max_tokens", "0")
    expect(page.locator(".control-problem:not(:empty)")).to_have_count(1)
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    assert chat.requests[0].sampling == {"temperature": 0.2, "top_k": 40}

    page.reload()
    page.wait_for_selector("body[data-ready]")
    send(page, "again")
    expect(answers(page)).to_have_count(2)
    assert chat.requests[1].sampling == {"temperature": 0.2, "top_k": 40}
    page.click("#open-controls")
    page.click("#reset-controls")
    expect(page.locator("#control-temperature")).to_have_value("0.7")
    send(page, "and again")
    expect(answers(page)).to_have_count(3)
    assert chat.requests[2].sampling == {}
    assert {request.preset for request in chat.requests} == {"chat"}


def test_where_the_model_is_silent_the_page_shows_and_uses_the_chat_preset(visit, talk):
    chat = talk()
    page = visit()
    page.click("#open-controls")
    for name, value in {**CHAT_SAMPLING, "max_tokens": CHAT_MAX_TOKENS}.items():
        expect(page.locator(f"#control-{name}")).to_have_value(str(value))
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    assert (chat.requests[0].sampling, chat.requests[0].preset) == ({}, "chat")


def test_everything_can_be_done_with_the_keyboard(visit, talk):
    talk()
    page = visit()
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.type("line one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line two")
    assert page.locator("#prompt").evaluate("e => e.clientHeight") > 50, "the box grows"
    page.keyboard.press("Enter")
    expect(page.locator(".message.user .body")).to_have_text("line one\nline two")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#prompt")).to_be_focused()

    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();"
            " return [e.id || e.ariaLabel || e.className, s.outlineStyle, r.width] }"
        )
        seen.add(focus[0])
        if focus[0] not in ("", "prompt", "scroller"):
            assert focus[1] == "solid", f"{focus[0]} shows no focus"
            assert focus[2] > 8, f"{focus[0]} has focus and cannot be seen"
    assert seen >= {"new-chat", "history-open", "theme", "open-controls", "Copy", "Edit and ask again", "Answer again"}

    page.focus("#open-controls")
    page.keyboard.press("Enter")
    expect(page.locator("#close-controls")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#controls")).to_be_hidden()
    expect(page.locator("#open-controls")).to_be_focused()


def test_an_error_is_shown_and_can_be_retried(visit, talk):
    talk(fail_after=1)
    page = visit()
    send(page, "hi")
    expect(page.locator("#banner")).to_contain_text("Internal server error")
    talk()
    page.click("#banner-retry")
    expect(answers(page)).to_have_text("Hello, you.")
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator(".message.user")).to_have_count(1)


def test_a_server_that_is_away_is_said_and_can_be_retried(visit, talk):
    page = visit()
    page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    send(page, "hi")
    expect(page.locator("#banner")).to_contain_text("The server does not answer. Is it still running?")
    page.unroute("**/v1/**")
    page.click("#banner-retry")
    expect(answers(page)).to_have_text("Hello, you.")


def test_without_a_store_the_page_still_chats(visit, talk):
    chat = talk()
    chat.store = None
    page = visit()
    expect(page.locator("#history-note")).to_have_text("This server does not store conversations.")
    send(page, "hi")
    expect(answers(page)).to_have_text("Hello, you.")
    assert chat.requests[0].conversation_id is None


def test_leaving_a_conversation_while_it_answers_mixes_nothing_up(visit, talk):
    chat = talk(endless, delay=0.03)
    page = visit()
    send(page, "endless")
    expect(page.locator(".message.growing")).to_contain_text("word")
    page.keyboard.press("Alt+KeyN")
    expect(page.locator("#empty")).to_be_visible()
    deadline = time.monotonic() + 3
    while not chat.num_cancelled and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    assert chat.num_cancelled == 1
    talk()
    send(page, "fresh")
    expect(answers(page)).to_have_text(["Hello, you."])
    expect(page.locator(".message")).to_have_count(2)


def test_the_api_description_needs_nothing_from_elsewhere(visit):
    page = visit("/docs", ready=False)
    expect(page.locator("h1")).to_contain_text("Turnwise API")
    page.click("summary:has-text('/v1/chat/completions')")
    expect(page.locator("details[open] td >> text=temperature").first).to_be_visible()
    expect(page.locator("details[open]")).to_contain_text("the logits are divided by it")
    expect(page.locator("details[open]")).to_contain_text("Not supported: this server has no moderation.")
