"""Answers survive a reload, a closed tab, another conversation, a lost connection and a restart of the server."""

import re

import pytest
from page_actions import answers, endless, send
from playwright.sync_api import expect

from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

WORDS = [f"w{number} " for number in range(40)]
TEXT = "".join(WORDS).strip()


def growing(page):
    return page.locator(".message.growing .body")


def shown_path(page, url):
    return page.url.removeprefix(url)


def stop(page):
    page.click("#stop")
    expect(page.locator(".figures").last).to_have_text("stopped")


def test_a_running_answer_grows_on_after_a_reload(visit, script_answers):
    chat = script_answers(WORDS, delay=0.08)
    page = visit()
    send(page, "count")
    expect(growing(page)).to_contain_text("w2")
    page.reload()
    expect(growing(page)).to_contain_text("w0 w1 w2")
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator(".message")).to_have_count(2)
    expect(answers(page)).to_have_text(TEXT)
    expect(page.locator(".message")).to_have_count(2)
    expect(page.locator(".figures").last).to_contain_text("40 tokens")
    assert (len(chat.requests), chat.num_cancelled) == (1, 0)


def test_an_answer_of_a_closed_tab_is_complete_in_the_next(visit, script_answers, server_url, store):
    chat = script_answers(WORDS, delay=0.02)
    page = visit()
    send(page, "count")
    expect(growing(page)).to_contain_text("w0")
    path = shown_path(page, server_url)
    page.close()
    second = visit(path)
    expect(answers(second)).to_have_text(TEXT)
    assert chat.num_cancelled == 0
    [conversation] = store.list()
    assert store.get(conversation.id).messages[-1].meta["finish"] == "stop"


def test_an_answer_goes_on_while_another_conversation_is_shown(visit, script_answers):
    chat = script_answers(WORDS, delay=0.05)
    page = visit()
    send(page, "count")
    expect(growing(page)).to_contain_text("w1")
    page.keyboard.press("Alt+KeyN")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#send")).to_be_visible()
    page.click(".history-open:has-text('count')")
    expect(growing(page)).to_contain_text("w0 w1")
    expect(answers(page)).to_have_text(TEXT)
    assert chat.num_cancelled == 0


def test_stop_ends_an_answer_that_was_attached_again(visit, script_answers, store):
    chat = script_answers(endless, delay=0.05)
    page = visit()
    send(page, "go on")
    expect(growing(page)).to_contain_text("word")
    page.reload()
    expect(growing(page)).to_contain_text("word")
    stop(page)
    page.reload()
    expect(page.locator("#send")).to_be_visible()
    assert chat.num_cancelled == 1
    expect(page.locator(".figures").last).to_have_text("stopped")


def ask_for_two(visit, script_answers, script, **settings):
    chat = script_answers(script, **settings)
    page = visit()
    page.click("#open-controls")
    page.fill("#control-n", "2")
    page.click("#close-controls")
    send(page, "go on")
    columns = page.locator(".answer-column.growing .body")
    expect(columns).to_have_text([re.compile("^w"), re.compile("^w")])
    return page, chat


def test_several_answers_go_on_after_a_reload_and_become_versions(visit, script_answers, store):
    page, chat = ask_for_two(visit, script_answers, WORDS, delay=0.06)
    page.reload()
    expect(growing(page)).to_contain_text("w0 w1")
    expect(answers(page)).to_have_text(TEXT)
    expect(page.locator("#send")).to_be_visible()
    [conversation] = store.list()
    while "in_progress" in (endings := [message.meta["finish"] for message in store.get(conversation.id).tree[1:]]):
        page.wait_for_timeout(50)
    assert endings == ["stop", "stop"]
    page.reload()
    expect(page.locator(".branch-number")).to_have_text(re.compile("[12]/2"))
    assert (len(chat.requests), chat.num_cancelled) == (2, 0)


def test_stop_ends_several_answers(visit, script_answers, store):
    page, chat = ask_for_two(visit, script_answers, endless, delay=0.05)
    page.click("#stop")
    page.locator(".choose-button").first.click()
    expect(page.locator(".figures").last).to_have_text("stopped")
    expect(page.locator("#send")).to_be_visible()
    expect(page.locator(".branch-number")).to_have_text(re.compile("[12]/2"))
    assert chat.num_cancelled == 2
    assert store.comparisons.list() == ([], False), "stopped answers say nothing about which is better"


def test_another_version_goes_on_after_a_reload(visit, script_answers, store):
    script_answers(["first"])
    page = visit()
    send(page, "count")
    expect(answers(page)).to_have_text("first")
    script_answers(WORDS, delay=0.08)
    page.locator(".message.last").get_by_label("Answer again").click()
    expect(growing(page)).to_contain_text("w1")
    page.reload()
    expect(growing(page)).to_contain_text("w0 w1 w2")
    expect(answers(page)).to_have_text(TEXT)
    expect(page.locator(".branch-number")).to_have_text("2/2")


def test_two_tabs_show_the_same_answer_and_one_can_stop_it(visit, script_answers, server_url):
    script_answers(endless, delay=0.05)
    first = visit()
    send(first, "go on")
    expect(growing(first)).to_contain_text("word")
    second = visit(shown_path(first, server_url))
    expect(growing(second)).to_contain_text("word")
    stop(second)
    expect(first.locator(".figures").last).to_have_text("stopped")
    expect(first.locator("#banner")).to_be_hidden()


def test_a_lost_connection_is_opened_again(visit, script_answers):
    chat = script_answers(WORDS, delay=0.08)
    page = visit()
    page.evaluate(
        """() => {
          const original = window.fetch;
          window.fetch = async (...args) => {
            const response = await original(...args);
            if (!String(args[0]).endsWith('/v1/chat/completions')) return response;
            const reader = response.body.getReader();
            let count = 0;
            const cut = new ReadableStream({
              async pull(controller) {
                const { value } = await reader.read();
                if (count++ < 4) controller.enqueue(value);
                else { reader.cancel(); controller.error(new TypeError('network error')); }
              },
            });
            return new Response(cut, { status: response.status, headers: response.headers });
          };
        }"""
    )
    send(page, "count")
    expect(answers(page)).to_have_text(TEXT, timeout=15000)
    expect(page.locator("#banner")).to_be_hidden()
    assert len(chat.requests) == 1


def test_a_continued_answer_survives_a_reload(visit, script_answers, store):
    conversation = store.create(title="Lamps", model="scripted")
    store.append(conversation.id, [Message("user", "The lamp?")])
    store.append(conversation.id, [Message("assistant", "The lamp is ")], {"finish": "cancelled", "model": "scripted"})
    script_answers(WORDS, delay=0.06)
    page = visit(f"/#{conversation.id}")
    page.locator(".message.last").get_by_label("Continue this answer").click()
    expect(growing(page)).to_contain_text("The lamp is w0 w1")
    page.reload()
    expect(growing(page)).to_contain_text("The lamp is w0 w1 w2")
    expect(answers(page)).to_have_text(f"The lamp is {TEXT}")


def test_an_answer_that_a_restart_cut_off_can_be_continued(visit, browser, tmp_path):
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    store = open_store(url)
    services = {"scripted": ScriptedChatService(WORDS, store=store, delay=0.1)}
    with serve_in_thread(create_app(services, default="scripted", auto_titles=False)) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        send(page, "count")
        expect(page.locator(".message.growing .body")).to_contain_text("w14")  # saved every second
        [entry] = store.list()
        messages = store.get(entry.id).messages
        assert messages[-1].meta["finish"] == "in_progress"
        page.close()
    copy = store.create(title="as after a crash", model="scripted")
    store.append(copy.id, [messages[0].message])
    store.append(copy.id, [messages[1].message], {"finish": "in_progress", "model": "scripted"})
    store.close()
    reopened = open_store(url)
    services = {"scripted": ScriptedChatService(["the rest"], store=reopened)}
    with serve_in_thread(create_app(services, default="scripted", auto_titles=False)) as address:
        page = browser.new_page()
        page.goto(f"{address}/#{copy.id}")
        expect(page.locator(".figures").last).to_have_text("interrupted")
        page.locator(".message.last").get_by_label("Continue this answer").click()
        expect(answers(page)).to_contain_text("the rest")
        expect(answers(page)).to_contain_text("w0 w1")
        page.close()
    reopened.close()


@pytest.mark.parametrize("where", ["new", "stored"])
def test_two_tabs_keep_their_drafts(browser, server_url, script_answers, store, where):
    conversation = store.create(title="t", model="scripted")
    path = f"/#{conversation.id}" if where == "stored" else "/"
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(2)]
    for tab, text in zip(tabs, ("first", "second"), strict=True):
        tab.goto(server_url + path)
        tab.wait_for_selector("body[data-ready]")
        tab.fill("#prompt", text)
    for tab, text in zip(tabs, ("first", "second"), strict=True):
        tab.reload()
        expect(tab.locator("#prompt")).to_have_value(text)
    third = context.new_page()
    third.goto(server_url + path)
    expect(third.locator("#prompt")).to_have_value("second")  # the newest one
    tabs[1].fill("#prompt", "")
    tabs[1].reload()
    tabs[1].wait_for_selector("body[data-ready]")
    expect(tabs[1].locator("#prompt")).to_have_value("")
    context.close()
