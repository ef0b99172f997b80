"""The command palette and the keys of the chat."""

import pytest
from page_actions import answers, send
from playwright.sync_api import expect


@pytest.fixture
def page(visit, script_answers):
    script_answers(lambda request: [f"re: {request.messages[-1].content}"])
    page = visit()
    send(page, "a question")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()
    return page


def run(page, query):
    page.keyboard.press("Control+k")
    page.locator("#palette-input").fill(query)
    page.keyboard.press("Enter")
    expect(page.locator("#palette")).to_have_count(0)


def test_the_palette_is_a_combobox_with_arrow_keys(page):
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Search actions and conversations")
    expect(box).to_be_focused()
    options = page.get_by_role("listbox", name="Actions").get_by_role("option")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(box).to_have_attribute("aria-activedescendant", "palette-0")
    page.keyboard.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(box).to_have_attribute("aria-activedescendant", "palette-0")
    box.fill("zzzz")
    expect(options).to_have_count(0)
    expect(page.get_by_text("There is no such action.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_have_count(0)
    expect(page.locator("#prompt")).to_be_focused()


def test_letters_in_their_order_match(page):
    page.keyboard.press("Control+k")
    page.locator("#palette-input").fill("nwch")
    expect(page.get_by_role("option").first).to_have_text("New chatAlt N")


def test_actions_run(page, store):
    run(page, "answer again")
    expect(page.locator(".branch-number")).to_have_text("2/2")
    run(page, "settings")
    expect(page.locator("#controls")).to_be_visible()
    run(page, "search conv")
    expect(page.locator("#history-search")).to_be_focused()
    run(page, "new chat")
    expect(page.locator("#empty")).to_be_visible()
    run(page, "light or dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    run(page, "go to playground")
    page.wait_for_selector("body.playground[data-ready]")


def test_conversations_are_searched_on_the_server(page):
    run(page, "new chat")
    page.keyboard.press("Control+k")
    page.locator("#palette-input").fill("question")
    page.get_by_role("option", name="Conversation: a question").click()
    expect(page.locator(".message.user .body")).to_have_text("a question")


def test_the_question_mark_lists_the_shortcuts_but_not_in_a_text_box(page):
    page.focus("#prompt")
    page.keyboard.type("?")
    expect(page.locator("#prompt")).to_have_value("?")
    page.fill("#prompt", "")
    page.focus("#theme")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_contain_text("New chat")
    expect(page.locator("#shortcuts tr")).to_have_count(10)
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_have_count(0)


def test_arrow_up_in_the_empty_box_edits_the_last_message(page):
    page.focus("#prompt")
    page.keyboard.type("x")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".edit-area")).to_have_count(0)
    page.fill("#prompt", "")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".edit-area")).to_be_focused()
    expect(page.locator(".edit-area")).to_have_value("a question")
    page.keyboard.press("Escape")
    expect(page.locator("#prompt")).to_be_focused()


def test_enter_starts_a_new_line_on_a_touch_keyboard(visit, script_answers):
    chat = script_answers()
    page = visit(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    expect(page.locator("#prompt")).to_have_attribute("enterkeyhint", "enter")
    page.locator("#prompt").press_sequentially("one")
    page.press("#prompt", "Enter")
    page.locator("#prompt").press_sequentially("two")
    expect(page.locator("#prompt")).to_have_value("one\ntwo")
    page.tap("#send")
    expect(answers(page)).to_have_count(1)
    assert chat.requests[0].messages[0].content == "one\ntwo"
