"""Text that is not sent yet: drafts, messages of a page that still loads, and of a server that does not answer."""

import pytest
from page_actions import answers, send
from playwright.sync_api import expect


def echo(chat_request):
    return [f"re: {chat_request.messages[-1].content}"]


@pytest.mark.parametrize("act", ["send", "edit"])
def test_text_that_could_not_be_sent_returns_to_the_text_box(visit, script_answers, act):
    script_answers(echo)
    page = visit()
    send(page, "one")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()
    page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    if act == "send":
        send(page, "long thoughts")
        expect(page.locator("#prompt")).to_have_value("long thoughts")
    else:
        page.locator(".message.user").get_by_label("Edit and ask again").click()
        page.fill(".edit-area", "long thoughts")
        page.press(".edit-area", "Enter")
        expect(page.locator(".edit-area")).to_have_value("long thoughts")
    expect(page.locator("#banner")).to_contain_text("The server does not answer")
    expect(answers(page)).to_have_text(["re: one"])
    page.unroute("**/v1/**")
    if act == "send":
        page.reload()
        expect(page.locator("#prompt")).to_have_value("long thoughts")
        page.press("#prompt", "Enter")
    else:
        page.press(".edit-area", "Enter")
    expect(answers(page).last).to_have_text("re: long thoughts")
    expect(page.locator("#prompt")).to_have_value("")


def test_a_draft_survives_a_reload_and_belongs_to_its_conversation(visit, script_answers):
    script_answers(echo)
    page = visit()
    send(page, "one")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()
    page.fill("#prompt", "half a thou")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("half a thou")
    page.keyboard.press("Alt+KeyN")
    expect(page.locator("#prompt")).to_have_value("")
    page.fill("#prompt", "another")
    page.click(".history-open:has-text('one')")
    expect(page.locator("#prompt")).to_have_value("half a thou")
    page.keyboard.press("Alt+KeyN")
    expect(page.locator("#prompt")).to_have_value("another")


@pytest.mark.parametrize("held_path", ["**/v1/models", "**/v1/conversations?*"])
def test_a_message_that_is_sent_before_the_page_is_ready_goes_to_the_conversation_of_the_address(
    visit, script_answers, held_path
):
    script_answers(echo)
    page = visit()
    send(page, "one")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()
    held = []
    page.route(held_path, lambda route: held.append(route))
    page.reload()
    page.wait_for_function("document.querySelector('#prompt').enterKeyHint !== ''")  # the scripts have started
    page.fill("#prompt", "two")
    page.press("#prompt", "Enter")
    page.wait_for_timeout(200)
    for route in held:
        route.continue_()
    page.unroute(held_path)
    expect(answers(page)).to_have_text(["re: one", "re: two"])
    expect(page.locator("#prompt")).to_have_value("")


@pytest.mark.parametrize("act", ["wait", "write on", "open another"])
def test_a_message_that_is_sent_while_its_conversation_is_loaded_is_sent_then(visit, script_answers, act):
    script_answers(echo)
    page = visit()
    send(page, "one")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()
    page.fill("#prompt", "two")
    held = []
    page.route("**/v1/conversations/conv*", lambda route: held.append(route))
    page.reload()
    expect(page.locator("#prompt")).to_have_value("two")
    page.press("#prompt", "Enter")
    expect(page.locator("#prompt")).to_have_value("two")
    if act == "write on":
        page.press("#prompt", "s")
    elif act == "open another":
        page.keyboard.press("Alt+KeyN")
    for route in held:
        route.continue_()
    page.unroute("**/v1/conversations/conv*")
    if act == "open another":
        page.click(".history-open:has-text('one')")
    expected = ["re: one", "re: two"] if act == "wait" else ["re: one"]
    expect(answers(page)).to_have_text(expected)
    expect(page.locator("#prompt")).to_have_value({"wait": "", "write on": "twos", "open another": "two"}[act])
