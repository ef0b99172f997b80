"""The page loses no input and no answer: branches, failures, reloads, long histories."""

import re

import pytest
from page_actions import answers, send, texts
from playwright.sync_api import expect

from turnwise.core.errors import ContextLengthExceeded
from turnwise.core.messages import Message

TOO_LONG = "This model's context holds 8 tokens, but 'messages' takes 9. Shorten it."


def echo(chat_request):
    return [f"re: {chat_request.messages[-1].content}"]


def stored_texts(store):
    [conversation] = store.list()
    return [entry.message.content for entry in store.get(conversation.id).tree]


def button(page, name):
    return page.locator(".message.last").get_by_label(name, exact=True)


def test_an_outdated_tab_creates_a_branch_and_shows_both(visit, script_answers, store):
    script_answers(echo)
    first = visit()
    send(first, "My name is Ada.")
    expect(answers(first)).to_have_count(1)
    expect(first.locator("#send")).to_be_visible()
    second = visit("/" + first.url.partition("/")[2].rpartition("/")[2])
    expect(answers(second)).to_have_count(1)
    send(first, "I live in Paris.")
    expect(answers(first)).to_have_count(2)
    send(second, "I like tea.")
    expect(answers(second)).to_have_count(2)
    expect(second.locator(".branch-number")).to_have_text("2/2")
    assert stored_texts(store) == [
        "My name is Ada.", "re: My name is Ada.", "I live in Paris.", "re: I live in Paris.", "I like tea.",
        "re: I like tea.",
    ]  # fmt: skip
    second.get_by_label("Previous version").click()
    expect(second.locator(".message.user .body").last).to_have_text("I live in Paris.")
    second.reload()
    expect(second.locator(".message.user .body").last).to_have_text("I live in Paris.")
    second.get_by_label("Next version").click()
    expect(answers(second).last).to_have_text("re: I like tea.")


def test_an_edit_keeps_the_following_messages_in_their_branch(visit, script_answers):
    script_answers(echo)
    page = visit()
    for number, text in enumerate(("one", "two", "three"), start=1):
        send(page, text)
        expect(answers(page)).to_have_count(number)
    page.locator(".message.user").first.hover()
    page.locator(".message.user").first.get_by_label("Edit and ask again").click()
    page.fill(".edit-area", "eins")
    page.press(".edit-area", "Enter")
    expect(answers(page)).to_have_text(["re: eins"])
    page.get_by_label("Previous version").click()
    expect(answers(page)).to_have_text(["re: one", "re: two", "re: three"])


def test_a_failed_retry_keeps_the_old_answer(visit, script_answers, store):
    numbers = iter(range(100))
    script_answers(lambda chat_request: [f"answer {next(numbers)}"])
    page = visit()
    send(page, "hi")
    expect(answers(page)).to_have_text("answer 0")
    expect(page.locator("#send")).to_be_visible()
    page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    button(page, "Answer again").click()
    expect(page.locator("#banner")).to_contain_text("The server does not answer")
    expect(answers(page)).to_have_text("answer 0")
    page.unroute("**/v1/**")
    page.click("#banner-retry")
    expect(answers(page)).to_have_text("answer 1")
    expect(page.locator(".branch-number")).to_have_text("2/2")
    page.get_by_label("Previous version").click()
    expect(answers(page)).to_have_text("answer 0")


def test_the_old_answer_is_shown_until_the_new_one_starts(visit, script_answers):
    script_answers(["old"])
    page = visit()
    send(page, "hi")
    expect(answers(page)).to_have_text("old")
    script_answers(["new"], delay=1.0)
    button(page, "Answer again").click()
    page.wait_for_timeout(300)
    assert texts(page)[:2] == ["hi", "old"]
    expect(answers(page)).to_have_text(["new"])
    assert texts(page) == ["hi", "new"]


def test_a_message_longer_than_the_context_is_stored_with_its_error_and_can_be_edited(visit, script_answers, store):
    script_answers(rejection=ContextLengthExceeded(TOO_LONG))
    page = visit()
    send(page, "far too long")
    expect(page.locator("#banner")).to_contain_text("Shorten it")
    expect(page.locator("#banner")).to_contain_text("--context-policy")
    expect(page.locator("#banner-retry")).to_be_hidden()
    expect(page.locator("#prompt")).to_have_value("far too long")
    page.reload()
    expect(page.locator(".message.user .body")).to_have_text("far too long")
    expect(page.locator(".message.user .note")).to_contain_text("Not answered: This model's context holds 8 tokens")
    expect(page.locator("#prompt")).to_have_value("far too long")
    script_answers(echo)
    page.fill("#prompt", "short")
    page.press("#prompt", "Enter")
    expect(answers(page)).to_have_text("re: short")
    assert texts(page) == ["short", "re: short"]
    assert stored_texts(store) == ["far too long", "short", "re: short"]


@pytest.mark.parametrize("end", ["stopped", "reloaded", "banner closed"])
def test_a_message_without_an_answer_can_be_retried(visit, script_answers, end):
    script_answers(["never"], delay=30)
    page = visit()
    send(page, "hi")
    expect(page.locator(".history-open")).to_have_text("hi")
    page.wait_for_timeout(300)
    if end == "stopped":
        page.click("#stop")
    elif end == "reloaded":
        page.reload()
        page.click("#stop")  # the answer goes on
    else:
        page.route("**/v1/conversations/*", lambda route: route.abort("connectionrefused"))
        page.click("#stop")
        page.unroute("**/v1/conversations/*")
    expect(page.locator("#send")).to_be_visible()
    script_answers(echo)
    button(page, "Answer again").click()
    expect(answers(page)).to_have_text("re: hi")
    assert texts(page) == ["hi", "re: hi"]


def test_a_conversation_is_listed_while_its_first_answer_is_generated(visit, script_answers):
    script_answers(["word "] * 100, delay=0.05)
    page = visit()
    send(page, "UNIQUE")
    expect(page.locator(".history-open")).to_have_text("UNIQUE")
    page.keyboard.press("Alt+KeyN")
    expect(page.locator(".history-open")).to_have_text("UNIQUE")


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        ("in_progress", "interrupted"),
        ("cancelled", "stopped"),
        ("error", "failed"),
        ("length", "cut off at the length limit"),
    ],
)
def test_an_incomplete_answer_is_marked_and_can_be_continued(visit, script_answers, store, finish, words):
    conversation = store.create(title="Lamps", model="scripted")
    store.append(conversation.id, [Message("user", "The lamp?")])
    store.append(conversation.id, [Message("assistant", "The lamp is")], {"finish": finish, "model": "scripted"})
    chat = script_answers([" broken."])
    page = visit(f"/#{conversation.id}")
    expect(page.locator(".figures")).to_have_text(words)
    button(page, "Continue this answer").click()
    expect(answers(page)).to_have_text("The lamp is broken.")
    expect(page.locator(".branch-number")).to_have_text("2/2")
    expect(button(page, "Continue this answer")).to_have_count(0)
    assert chat.requests[0].context.continue_final_message
    assert [entry.message.content for entry in store.get(conversation.id).tree] == [
        "The lamp?", "The lamp is", "The lamp is broken.",
    ]  # fmt: skip


def test_all_of_250_conversations_can_be_opened(visit, script_answers, store):
    for number in range(250):
        store.create(title=f"Chat {number:03}", model="scripted")
    page = visit()
    first = page.locator(".history-row").first
    expect(first).to_have_attribute("aria-setsize", "100")
    page.click("#history-more")
    expect(first).to_have_attribute("aria-setsize", "200")
    page.locator("#history").evaluate("e => { e.scrollTop = e.scrollHeight }")  # or by scrolling
    expect(first).to_have_attribute("aria-setsize", "250")
    expect(page.locator("#history-more")).to_be_hidden()
    send(page, "new")
    expect(answers(page)).to_have_count(1)
    expect(first).to_have_attribute("aria-setsize", "251")
    page.locator("#history").evaluate("e => { e.scrollTop = e.scrollHeight }")
    page.click(".history-open:has-text('Chat 000')")
    expect(page.locator("#title")).to_have_text("Chat 000")
    assert page.locator(".history-row").count() < 100, "only rows in view are drawn"


def test_conversations_can_be_searched(visit, script_answers, store):
    for number in range(120):
        store.create(title=f"Chat {number:03}", model="scripted")
    conversation = store.create(title="Something", model="scripted")
    store.append(conversation.id, [Message("user", "Where is the Needle?")])
    page = visit()
    page.fill("#history-search", "needle")
    expect(page.locator(".history-open")).to_have_text(["Something"])
    page.fill("#history-search", "Chat 00")
    expect(page.locator(".history-open")).to_have_count(10)
    page.fill("#history-search", "no such thing")
    expect(page.locator("#history-note")).to_have_text("No conversation contains this text.")
    page.fill("#history-search", "")
    expect(page.locator(".history-row").first).to_have_attribute("aria-setsize", "100")


def test_the_focus_stays_at_the_retried_answer(visit, script_answers):
    script_answers(echo)
    page = visit()
    send(page, "one")
    expect(answers(page)).to_have_count(1)
    button(page, "Answer again").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".branch-number")).to_have_text("2/2")
    expect(button(page, "Answer again")).to_be_focused()
    page.locator(".message.last").get_by_label("Previous version").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".branch-number")).to_have_text("1/2")
    assert page.evaluate("document.activeElement.closest('.message.last') !== null")


def test_the_text_box_is_in_a_landmark(visit):
    page = visit()
    landmark = page.get_by_role("region", name="Write a message")
    expect(landmark.locator("#prompt")).to_be_visible()
    expect(landmark.locator(".hint")).to_have_text(re.compile("may be wrong"))


@pytest.mark.parametrize(
    "text",
    [
        "# a" + " " * 40_000 + "b", " " * 40_000 + "x", "- " + " " * 40_000 + "x", "a" + "#" * 40_000 + " b",
        "# " + "#" * 40_000 + "b", "-" + " " * 40_000 + "x", "- " * 20_000 + "x",
        ">" * 5000 + "x", "> " * 5000 + "x", "**" * 5000 + "x", "**a " * 5000, "*a " * 10_000, "_a " * 10_000,
        "*a **b " * 5000, "[" * 5000, "[a](" * 5000, "[a]" * 5000, "`" * 5000, "`a``b" * 5000,
        "```" * 5000, "`a " * 10_000,
        "".join("`" * n + " " for n in range(1, 400)), "http://" * 5000, "http://a." + "." * 20_000,
        "~~~" + "`" * 20_000,
        "\n".join("  " * n + "- x" for n in range(2000)), "\n" * 20_000, "- a\n\n" * 5000, "1. a\n" * 5000,
    ],
    ids=lambda text: repr(text[:6]),
)  # fmt: skip
def test_markdown_is_rendered_in_linear_time(markdown_page, text):
    seconds = markdown_page.evaluate(
        "async (text) => { const { MarkdownView, loadParser } = await import('/assets/markdown.js');"
        " await loadParser();"
        " const element = document.body.appendChild(document.createElement('div')); const began = performance.now();"
        " for (const part of [text, text.slice(1)]) await new MarkdownView(element).update(part);"
        " element.remove(); return (performance.now() - began) / 1000 }",
        text,
    )
    assert seconds < 3, "quadratic searches took 12 seconds and more"


@pytest.fixture(scope="module")
def markdown_page(browser, server_url):
    context = browser.new_context()
    page = context.new_page()
    page.goto(server_url + "/docs")
    yield page
    context.close()
