"""The playground: two setups answer side by side, verdicts become preferences, lists of prompts are rated by keys."""

import json
import re

import pytest
from playwright.sync_api import expect

from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture(scope="module")
def chats():
    return {name: ScriptedChatService(["I am ", f"{name}."], name=name) for name in ("ant", "bee")}


@pytest.fixture(scope="module")
def server_url(chats):
    with serve_in_thread(create_app(chats, default="ant")) as url:
        yield url


@pytest.fixture
def script_answers(chats, store):
    for chat in chats.values():
        chat.store, chat.requests, chat._delay = store, [], 0.0


def ask(page, text):
    page.fill("#playground-text", text)
    page.press("#playground-text", "Enter")


def columns(page):
    return page.locator(".answer-column:not(.growing) .body")


def titles(page):
    return page.locator(".turn:last-child .column-title")


def test_two_models_answer_one_message_with_their_figures(visit, chats):
    page = visit("/playground")
    ask(page, "Who are you?")
    expect(columns(page)).to_have_text(["I am ant.", "I am bee."])
    expect(titles(page)).to_have_text(["A · ant", "B · bee"])
    expect(page.locator(".answer-column .figures").first).to_have_text(re.compile(r"^2 tokens · [\d.]+ tokens/s$"))
    ask(page, "And now?")
    expect(columns(page)).to_have_count(4)
    for name, chat in chats.items():
        assert [m.content for m in chat.requests[-1].messages] == ["Who are you?", f"I am {name}.", "And now?"]


def test_a_verdict_becomes_a_preference_and_a_score(visit, store):
    page = visit("/playground")
    expect(page.locator("#scores-note")).to_be_visible()
    ask(page, "Who are you?")
    page.get_by_role("button", name="Right is better").click()
    expect(page.locator("#verdict-result")).to_have_text("Better: B · bee")
    expect(page.locator("#scores tbody tr")).to_have_text(re.compile(r"beeant100 % \(21 % to 100 %\)1000"))
    (answer,) = store.collected_answers.answers("ant")
    assert answer.preferred[0].answer.content == "I am bee."
    page.get_by_role("button", name="Take the last choice back").click()
    expect(page.locator("#scores-note")).to_be_visible()
    assert list(store.collected_answers.answers()) == []


def test_a_blind_comparison_hides_names_and_sides_until_the_choice(visit, store):
    page = visit("/playground")
    page.check("#blind")
    page.evaluate("Math.random = () => 0")  # the sides are exchanged
    ask(page, "Who are you?")
    expect(titles(page)).to_have_text(["Left", "Right"])
    expect(columns(page)).to_have_text(["I am bee.", "I am ant."])
    expect(page.locator(".answer-column .figures").first).to_be_hidden()
    page.keyboard.press("Tab")  # leaves the text box, where digits are text
    page.locator("#verdict").focus()
    page.keyboard.press("1")
    expect(titles(page)).to_have_text(["B · bee", "A · ant"])
    expect(page.locator(".answer-column .figures").first).to_be_visible()
    (comparison,), _ = store.comparisons.list()
    assert (comparison.left.model, comparison.right.model, comparison.content.verdict) == ("bee", "ant", "left")


def test_settings_of_one_model_are_told_apart_by_their_names(visit, store, chats):
    page = visit("/playground")
    page.locator("#setup-b summary").first.click()
    page.select_option("#b-model", "ant")
    page.select_option("#b-preset", "Creative")
    page.fill("#b-system", "Be brief.")
    ask(page, "Hello")
    expect(columns(page)).to_have_count(2)
    assert [request.messages[0].content for request in chats["ant"].requests] == ["Hello", "Be brief."]
    assert chats["ant"].requests[1].sampling == {"temperature": 1.1, "min_p": 0.05, "presence_penalty": 0.3}
    page.get_by_role("button", name="Left is better").click()
    expect(page.locator("#scores tbody th")).to_have_text("ant · A")
    assert [score.second.label for score in store.comparisons.scores()] == ["Creative"]
    page.reload()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#setup-b-summary")).to_contain_text("Creative")


def test_a_list_of_prompts_is_rated_with_the_keys(visit, store):
    page = visit("/playground")
    page.locator("#prompts summary").click()
    page.fill("#prompts-text", 'One\n\n{"prompt": "Two"}\n{"messages": [{"role": "user", "content": "Three"}]}\nFour')
    page.get_by_role("button", name="Run").click()
    for prompt, key in [("One", "1"), ("Two", "2"), ("Three", "3"), ("Four", "s")]:
        expect(page.locator(".turn-prompt")).to_have_text(prompt)
        expect(page.locator("#verdict")).to_be_focused()
        page.keyboard.press(key)
    expect(page.locator("#run-progress")).to_have_text(
        "Done: A was better 1 times, B 1 times; equal 1, both bad 0, skipped 1."
    )
    assert [entry.content.verdict for entry in store.comparisons.list()[0]] == ["left", "right", "equal"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the answers").click()
    rows = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert [(row["messages"][0]["content"], row["outcome"]) for row in rows] == [
        ("One", "a"), ("Two", "b"), ("Three", "equal"), ("Four", None),
    ]  # fmt: skip
    assert rows[0]["a"] == {"title": "A · ant", "answer": "I am ant."}


def test_a_dropped_file_fills_the_list_and_a_wrong_line_is_named(visit):
    page = visit("/playground")
    page.locator("#prompts summary").click()
    page.evaluate("""() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(['Hi\\n{"x": 1}'], "prompts.jsonl"));
        const drop = new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
        document.getElementById("prompts").dispatchEvent(drop);
    }""")
    expect(page.locator("#prompts-text")).to_have_value('Hi\n{"x": 1}')
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#prompts-problem")).to_contain_text("Line 2")


def test_a_failed_side_is_shown_and_cannot_be_rated(visit, chats, monkeypatch):
    monkeypatch.setattr(chats["bee"], "_fail_after", 0)
    page = visit("/playground")
    ask(page, "Hello")
    expect(page.locator(".answer-column .control-problem").last).to_contain_text("Internal server error")
    expect(columns(page).first).to_have_text("I am ant.")
    expect(page.locator("#verdict")).to_be_hidden()


def test_without_a_store_answers_are_compared_and_nothing_is_stored(visit, chats):
    for chat in chats.values():
        chat.store = None
    page = visit("/playground")
    expect(page.locator("#scores-note")).to_contain_text("stores no answers")
    ask(page, "Hello")
    page.get_by_role("button", name="Equal").click()
    expect(page.locator("#verdict-result")).to_have_text("Equal. This server does not store it.")


def test_stop_ends_both_answers(visit, chats, monkeypatch):
    for chat in chats.values():
        monkeypatch.setattr(chat, "_script", lambda request: ("word " for _ in range(1000)))
        monkeypatch.setattr(chat, "_delay", 0.05)
    page = visit("/playground")
    ask(page, "Hello")
    expect(page.locator(".answer-column .body").last).to_contain_text("word")
    page.keyboard.press("Escape")
    expect(page.locator(".answer-column .figures")).to_have_text(["stopped", "stopped"])
    expect(page.locator("#playground-send")).to_be_visible()


@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_fits_the_screen(visit, width):
    page = visit("/playground", viewport={"width": width, "height": 700})
    page.locator("#setup-a summary").first.click()
    ask(page, "Does it fit? " + "x" * 200)
    expect(columns(page)).to_have_count(2)
    page.get_by_role("button", name="Left is better").click()
    expect(page.locator("#scores tbody tr")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def start_run(page, *prompts):
    page.locator("#prompts summary").click()
    page.fill("#prompts-text", "\n".join(prompts))
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#verdict")).to_be_focused()


def test_clear_forgets_answers_that_are_being_written(visit, chats, monkeypatch):
    for chat in chats.values():
        monkeypatch.setattr(chat, "_delay", 0.3)
    page = visit("/playground")
    ask(page, "forget this")
    expect(page.locator(".answer-column .body").last).to_contain_text("I am")
    page.click("#new-comparison")
    page.wait_for_timeout(300)  # the aborted requests end
    ask(page, "Who are you?")
    expect(columns(page)).to_have_text(["I am ant.", "I am bee."])
    for chat in chats.values():
        assert [m.content for m in chat.requests[-1].messages] == ["Who are you?"]


def test_a_held_key_rates_one_pair(visit, store):
    page = visit("/playground")
    start_run(page, "One", "Two", "Three")
    page.keyboard.down("1")
    expect(page.locator(".turn-prompt")).to_have_text("Two")
    expect(page.locator("#verdict")).to_be_focused()
    page.keyboard.down("1")  # repeats
    page.keyboard.up("1")
    page.keyboard.press("2")
    expect(page.locator(".turn-prompt")).to_have_text("Three")
    assert [entry.content.verdict for entry in store.comparisons.list()[0]] == ["left", "right"]


def test_a_pair_is_not_skipped_while_its_verdict_is_stored(visit, store):
    page = visit("/playground")
    start_run(page, "One", "Two", "Three")
    held = []
    page.route(
        "**/v1/comparisons", lambda route: held.append(route) if route.request.method == "POST" else route.continue_()
    )
    page.keyboard.press("1")
    page.keyboard.press("s")
    page.keyboard.press("2")
    expect(page.locator(".turn-prompt")).to_have_text("One")
    held[0].continue_()
    page.unroute_all()
    expect(page.locator(".turn-prompt")).to_have_text("Two")
    assert [entry.content.verdict for entry in store.comparisons.list()[0]] == ["left"]


def test_a_run_is_not_started_while_another_one_goes_on(visit, chats):
    page = visit("/playground")
    start_run(page, "One", "Two")
    page.keyboard.press("s")
    expect(page.locator(".turn-prompt")).to_have_text("Two")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_timeout(200)
    expect(page.locator("#run-progress")).to_have_text("Prompt 2 of 2")
    assert len(chats["ant"].requests) == 2


def test_a_verdict_that_failed_is_not_tried_again_for_another_pair(visit, store):
    page = visit("/playground")
    ask(page, "One")
    expect(columns(page)).to_have_count(2)
    held = []
    page.route(
        "**/v1/comparisons", lambda route: held.append(route) if route.request.method == "POST" else route.continue_()
    )
    page.get_by_role("button", name="Left is better").click()
    page.click("#new-comparison")
    ask(page, "Two")
    expect(columns(page)).to_have_count(2)
    held[0].abort()
    page.unroute_all()
    page.wait_for_timeout(200)
    expect(page.locator("#banner")).to_be_hidden()
    page.get_by_role("button", name="Right is better").click()
    expect(page.locator("#verdict-result")).to_contain_text("Better: B")
    assert [entry.content.verdict for entry in store.comparisons.list()[0]] == ["right"]
