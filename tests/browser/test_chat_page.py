"""The functions of the chat page."""

import re

import pytest
from page_actions import answers, endless, send, wait_until
from playwright.sync_api import expect

from turnwise.chat.versions.live_version import LiveVersion
from turnwise.chat.versions.version_router import VersionRouter
from turnwise.chat.versions.versioned_chat_service import VersionedChatService
from turnwise.core.chat_response import ContextReport, ConversationSummary, Usage
from turnwise.core.messages import Message
from turnwise.core.model_versions import ModelVersion, NewVersion, VersionRouting
from turnwise.core.sampling_presets import CHAT_MAX_TOKENS, CHAT_SAMPLING


def test_an_answer_is_shown_while_it_is_streamed(visit, script_answers):
    words = ["One ", "two ", "three ", "four ", "five ", "six."]
    chat = script_answers(words, delay=0.25)
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


def test_the_second_request_contains_the_first_exchange(visit, script_answers):
    chat = script_answers()
    page = visit()
    send(page, "one")
    expect(answers(page)).to_have_count(1)
    send(page, "two")
    expect(answers(page)).to_have_count(2)
    assert [m.content for m in chat.requests[1].messages] == ["one", "Hello, you.", "two"]
    assert chat.requests[0].conversation_id == chat.requests[1].conversation_id


def test_the_report_of_a_context_policy_is_shown_above_the_answer(visit, script_answers):
    summary = ConversationSummary("About lamps.", 4, Usage(90, 30))
    script_answers(context=ContextReport("summarise", 4, summary))
    page = visit()
    send(page, "one")
    expect(page.locator(".message.assistant .note")).to_have_text("4 older messages were summarised")
    expect(page.locator(".message.user .note")).to_be_hidden()
    expect(page.locator(".figures").last).to_contain_text("4 tokens")  # of the answer, without those of the summary
    expect(answers(page)).to_have_count(1)
    script_answers(context=ContextReport("drop_oldest", 1))
    send(page, "two")
    expect(page.locator(".message.assistant .note").last).to_have_text("1 older message was left out")


def test_pinned_messages_of_a_stored_conversation_are_sent_as_pinned(visit, script_answers, store):
    conversation = store.create(title="Pinned", model="scripted")
    store.append(conversation.id, [Message("user", "I am Ada.", pinned=True), Message("assistant", "Hello.")])
    chat = script_answers()
    page = visit(f"/#{conversation.id}")
    send(page, "two")
    expect(answers(page)).to_have_count(2)
    assert [message.pinned for message in chat.requests[0].messages] == [True, False, False]
    assert [entry.message.pinned for entry in store.get(conversation.id).messages] == [True, False, False, False]


@pytest.mark.parametrize("method", ["button", "escape"])
def test_stop_cancels_the_request_and_keeps_the_partial_answer(visit, script_answers, store, method):
    chat = script_answers(endless, delay=0.05)
    page = visit()
    send(page, "go on")
    expect(page.locator(".message.growing .body")).to_contain_text("word word")
    page.click("#stop") if method == "button" else page.keyboard.press("Escape")
    expect(page.locator(".figures").last).to_have_text("stopped")
    expect(page.locator("#send")).to_be_visible()
    page.wait_for_timeout(300)
    assert chat.num_cancelled == 1
    [conversation] = store.list()
    assert [m.message.role for m in store.get(conversation.id).messages] == ["user", "assistant"]


def test_a_suggestion_starts_a_conversation(visit, script_answers):
    chat = script_answers()
    page = visit()
    assert page.locator("#suggestions button").count() == 4
    page.click("text=Tell me a joke")
    expect(answers(page)).to_have_text("Hello, you.")
    assert chat.requests[0].messages[0].content == "Tell me a joke"


def test_conversations_survive_a_reload_and_can_be_opened_renamed_and_deleted(visit, script_answers, store):
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
    row.get_by_label("Actions").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.fill(".rename", "My orders")
    page.press(".rename", "Enter")
    expect(page.locator("#title")).to_have_text("My orders")
    assert {c.title for c in store.list()} == {"Second chat", "My orders"}

    row.hover()
    row.get_by_label("Actions").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator(".history-open")).to_have_text(["Second chat"])
    page.reload()  # makes it final
    expect(page.locator(".history-open")).to_have_text(["Second chat"])
    assert [c.title for c in store.list()] == ["Second chat"]


def test_retry_replaces_the_last_answer_also_in_the_store(visit, script_answers, store):
    numbers = iter(range(100))
    chat = script_answers(lambda chat_request: [f"answer {next(numbers)}"])
    page = visit()
    send(page, "hi")
    expect(answers(page)).to_have_text("answer 0")
    page.locator(".message.last").get_by_label("Answer again").click()
    expect(answers(page)).to_have_text("answer 1")
    assert len(chat.requests[1].messages) == 1
    [conversation] = store.list()
    assert [m.message.content for m in store.get(conversation.id).messages] == ["hi", "answer 1"]


def test_editing_a_message_drops_the_following_messages_from_the_branch(visit, script_answers, store):
    chat = script_answers(lambda chat_request: [f"re: {chat_request.messages[-1].content}"])
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
    [conversation] = store.list()
    assert [m.message.content for m in store.get(conversation.id).messages] == ["eins", "re: eins"]


def test_the_sampling_controls_reach_the_request_and_survive_a_reload(visit, script_answers):
    chat = script_answers(defaults={"temperature": 0.7})
    page = visit()
    page.click("#open-controls")
    expect(page.locator("#control-temperature")).to_have_value("0.7")
    expect(page.locator("#control-temperature-help")).to_contain_text("the same, safe words")
    page.click("summary:has-text('Choice of words')")
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


def test_the_page_uses_the_chat_preset_for_a_model_without_defaults(visit, script_answers):
    chat = script_answers()
    page = visit()
    page.click("#open-controls")
    for name, value in {**CHAT_SAMPLING, "max_tokens": CHAT_MAX_TOKENS}.items():
        expect(page.locator(f"#control-{name}")).to_have_value(str(value))
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    assert (chat.requests[0].sampling, chat.requests[0].preset) == ({}, "chat")


def test_the_page_is_usable_with_the_keyboard(visit, script_answers):
    script_answers()
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
            " return [e === document.body ? '' : e.id || e.ariaLabel || e.className, s.outlineStyle, r.width] }"
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


def test_an_error_is_shown_and_can_be_retried(visit, script_answers):
    script_answers(fail_after=1)
    page = visit()
    send(page, "hi")
    expect(page.locator("#banner")).to_contain_text("Internal server error")
    script_answers()
    page.click("#banner-retry")
    expect(answers(page)).to_have_text("Hello, you.")
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator(".message.user")).to_have_count(1)


def test_a_network_error_is_shown_and_can_be_retried(visit, script_answers):
    page = visit()
    page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    send(page, "hi")
    expect(page.locator("#banner")).to_contain_text("The server does not answer. Is it still running?")
    page.unroute("**/v1/**")
    page.click("#banner-retry")
    expect(answers(page)).to_have_text("Hello, you.")


def test_the_page_works_without_a_store(visit, script_answers):
    chat = script_answers()
    chat.store = None
    page = visit()
    expect(page.locator("#history-note")).to_have_text("This server does not store conversations.")
    send(page, "hi")
    expect(answers(page)).to_have_text("Hello, you.")
    assert chat.requests[0].conversation_id is None


def test_opening_another_conversation_during_an_answer_keeps_them_separate(visit, script_answers):
    """Without a store, the answer ends; a stored one goes on (test_running_answers.py)."""
    chat = script_answers(endless, delay=0.03)
    chat.store = None
    page = visit()
    send(page, "endless")
    expect(page.locator(".message.growing")).to_contain_text("word")
    page.keyboard.press("Alt+KeyN")
    expect(page.locator("#empty")).to_be_visible()
    wait_until(page, lambda: chat.num_cancelled == 1)
    script_answers().store = None
    send(page, "fresh")
    expect(answers(page)).to_have_text(["Hello, you."])
    expect(page.locator(".message")).to_have_count(2)


def test_the_api_reference_loads_nothing_from_other_hosts(visit):
    page = visit("/docs")
    expect(page.locator("h1")).to_contain_text("Turnwise API")
    page.click("summary:has-text('/v1/chat/completions')")
    expect(page.locator("details[open] td >> text=temperature").first).to_be_visible()
    expect(page.locator("details[open]")).to_contain_text("the logits are divided by it")
    expect(page.locator("summary code").get_by_text("stream", exact=True).first).to_be_visible()  # words in backticks
    expect(page.locator("details[open]")).to_contain_text("Not supported: this server has no moderation.")


def test_versions_of_the_model_are_no_choice_of_the_page(visit, services):
    version = ModelVersion(1, 0.0, "serving", NewVersion("scripted", "folder", "digest"))
    plain = services["scripted"]
    live = LiveVersion(version, plain, lambda: None)
    services["scripted"] = VersionedChatService(VersionRouter("scripted", VersionRouting(1, version), {1: live}))
    try:
        page = visit()
        expect(page.locator("#model")).to_have_text("scripted")
        expect(page.locator("#model select")).to_have_count(0)
    finally:
        services["scripted"] = plain
