"""The list of conversations: groups, folders, menus, selection and search."""

import pytest
from accessibility import violations
from history_list import choose, create, headings, row, titles
from page_actions import answers, endless, send, wait_until
from playwright.sync_api import expect

from turnwise.core.messages import Message
from turnwise.core.stored_conversations import ConversationChanges
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread


def test_conversations_are_grouped_by_date(visit, store):
    for title, age in (("now", 0), ("yesterday", 1), ("this week", 4), ("old", 45), ("older", 400)):
        create(store, title, age_days=age)
    store.update(create(store, "favourite", age_days=90), ConversationChanges(is_pinned=True))
    page = visit()
    expect(titles(page)).to_have_text(["favourite", "now", "yesterday", "this week", "old", "older"])
    texts = headings(page).all_text_contents()
    assert texts[:4] == ["Pinned", "Today", "Yesterday", "Last 7 days"]
    assert len(texts) == 6
    assert all(text.split()[-1].isdigit() for text in texts[4:]), "month and year"


def test_a_conversation_is_pinned_by_its_menu(visit, store):
    ids = [create(store, title) for title in ("first", "second")]
    page = visit()
    choose(page, "first", "Pin")
    expect(titles(page)).to_have_text(["first", "second"])
    expect(headings(page)).to_have_text(["Pinned", "Today"])
    assert store.get(ids[0]).is_pinned
    choose(page, "first", "Unpin")
    expect(headings(page)).to_have_text(["Today"])


def test_a_folder_is_created_filled_renamed_collapsed_and_deleted(visit, store):
    id = create(store, "order")
    page = visit()
    choose(page, "order", "Move to a folder", "New folder")
    page.fill("#folder-name", "Work")
    page.press("#folder-name", "Enter")
    folder = page.locator(".folder-toggle")
    expect(folder).to_have_text("Work1")
    expect(folder).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".history-group[data-folder] .history-open")).to_have_text(["order"])
    [stored] = store.folders.list()
    assert store.get(id).folder_id == stored.id
    folder.click()
    expect(titles(page)).to_be_hidden()
    page.reload()
    expect(page.locator(".folder-toggle")).to_have_attribute("aria-expanded", "false")
    page.locator(".folder-menu").click()
    page.locator(".menu-item", has_text="Rename").click()
    page.fill("#folder-name", "Home")
    page.press("#folder-name", "Enter")
    expect(folder).to_have_text("Home1")
    page.locator(".folder-menu").click()
    page.locator(".menu-item", has_text="Delete the folder").click()
    page.click("#confirm-yes")
    expect(folder).to_have_count(0)
    expect(titles(page)).to_have_text(["order"])
    assert store.get(id).folder_id is None


def test_a_conversation_is_dragged_to_a_folder_and_out_of_it(visit, store):
    id, folder = create(store, "order"), store.folders.create("Work").id
    create(store, "other")
    page = visit()
    row(page, "order").drag_to(page.locator(".folder-toggle"))
    expect(page.locator(".folder-count")).to_have_text("1")
    assert store.get(id).folder_id == folder
    page.click(".folder-toggle")
    row(page, "order").drag_to(row(page, "other"))
    expect(page.locator(".folder-count")).to_have_text("0")
    assert store.get(id).folder_id is None


def test_a_conversation_is_renamed_while_the_list_is_loaded_again(visit, store):
    id = create(store, "old title")
    page = visit(f"/#{id}")
    held = []
    page.route("**/v1/conversations?*", lambda route: held.append(route))
    create(store, "another", age_days=1)
    send(page, "hi")  # the list is loaded after the answer
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()
    choose(page, "old title", "Rename")
    page.fill(".rename", "new title")
    while len(held) < 2:
        page.wait_for_timeout(20)
    for route in held:
        route.continue_()
    expect(titles(page)).to_have_text(["another"])
    expect(page.locator(".rename")).to_be_focused()
    page.press(".rename", "Enter")
    expect(titles(page)).to_have_text(["new title", "another"])
    assert store.get(id).title == "new title"


def scroll_to_end(page, last):
    """Scroll the list to its end, which may come later, until an element is visible."""
    page.keyboard.press("End")

    def is_shown():
        page.evaluate("document.getElementById('history').scrollTop = 1e9")
        return last.is_visible()

    wait_until(page, is_shown)


@pytest.mark.parametrize("act", ["pin", "move"])
def test_a_conversation_beyond_the_first_page_is_shown_once_after_it_has_moved(visit, store, act):
    folder = store.folders.create("Work").id
    for number in range(130):
        create(store, f"Chat {number:03}", age_days=number)
    page = visit()
    page.click(".folder-toggle")
    with page.expect_response("**/v1/conversations?*after=*"):
        page.evaluate("document.getElementById('history').scrollTop = 1e9")
    scroll_to_end(page, row(page, "Chat 128"))
    choose(page, "Chat 128", *(["Pin"] if act == "pin" else ["Move to a folder", "Work"]))
    expect(page.locator("#status")).to_have_text("Pinned." if act == "pin" else "Moved.")
    scroll_to_end(page, row(page, "Chat 129"))
    expect(row(page, "Chat 128")).to_have_count(0)
    page.evaluate("document.getElementById('history').scrollTop = 0")
    expect(row(page, "Chat 128")).to_have_count(1)
    if act == "move":
        assert [entry.title for entry in store.list(folder_id=folder)] == ["Chat 128"]


def test_a_failed_change_is_not_announced_as_done(visit, store):
    create(store, "order")
    page = visit()
    page.route("**/v1/conversations/*", lambda route: route.abort())
    choose(page, "order", "Pin")
    expect(page.locator("#banner")).to_contain_text("The server does not answer")
    expect(page.locator("#status")).not_to_have_text("Pinned.")


def test_escape_empties_the_search_and_does_not_stop_the_answer(visit, store, script_answers):
    create(store, "order")
    script_answers(endless, delay=0.05)
    page = visit()
    send(page, "hi")
    expect(page.locator("#stop")).to_be_visible()
    page.fill("#history-search", "order")
    expect(headings(page)).to_have_text(["Found"])
    page.press("#history-search", "Escape")
    expect(page.locator("#history-search")).to_have_value("")
    expect(headings(page)).to_have_text(["Today"])
    expect(page.locator("#stop")).to_be_visible()
    page.press("#history-search", "Escape")
    expect(page.locator("#send")).to_be_visible()


def test_a_drop_that_moves_nothing_sends_nothing(visit, store):
    create(store, "plain")
    create(store, "yesterday", age_days=1)
    store.update(create(store, "favourite"), ConversationChanges(is_pinned=True))
    filed = create(store, "filed", folder_id=store.folders.create("Work").id)
    page = visit()
    page.click(".folder-toggle")
    expect(row(page, "filed")).to_be_visible()
    changes = []
    page.on("request", lambda request: request.method == "PATCH" and changes.append(request.url))
    row(page, "plain").drag_to(row(page, "yesterday"))
    row(page, "plain").drag_to(row(page, "favourite"))
    row(page, "filed").drag_to(page.locator(".folder-toggle"))
    page.fill("#history-search", "filed")
    expect(headings(page)).to_have_text(["Found"])
    row(page, "filed").drag_to(headings(page).first)
    page.wait_for_timeout(100)
    assert changes == []
    assert store.get(filed).folder_id is not None


def test_the_list_is_used_with_the_keyboard_alone(visit, store):
    for title in ("c", "b", "a"):
        create(store, title)
    page = visit()
    page.focus("#history-menu")
    page.keyboard.press("Tab")
    expect(row(page, "a").locator(".history-open")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(row(page, "b").locator(".history-open")).to_be_focused()
    page.keyboard.press("F2")
    page.keyboard.type("B!")
    page.keyboard.press("Enter")
    expect(row(page, "B!").locator(".history-open")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(headings(page)).to_have_text(["Pinned", "Today"])
    expect(titles(page)).to_have_text(["B!", "a", "c"])
    page.keyboard.press("End")
    expect(row(page, "c").locator(".history-open")).to_be_focused()
    page.keyboard.press("Delete")
    expect(titles(page)).to_have_text(["B!", "a"])
    expect(row(page, "a").locator(".history-open")).to_be_focused()
    page.keyboard.press("Shift+F10")
    expect(page.get_by_role("menu")).to_be_visible()
    page.keyboard.press("d")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    expect(row(page, "a").locator(".history-open")).to_be_focused()


def test_several_conversations_are_selected_moved_and_deleted(visit, store):
    for title in ("d", "c", "b", "a"):
        create(store, title)
    folder = store.folders.create("Work").id
    page = visit()
    choose(page, "a", "Select")
    expect(page.locator(".selection-count")).to_have_text("1 selected")
    row(page, "c").locator(".history-open").click(modifiers=["Shift"])
    expect(page.locator(".selection-count")).to_have_text("3 selected")
    row(page, "b").locator(".history-open").click()
    expect(page.locator(".history-open[aria-pressed=true]")).to_have_text(["a", "c"])
    page.locator(".selection-bar").get_by_text("Move").click()
    page.locator(".menu-item", has_text="Work").click()
    expect(page.locator(".folder-count")).to_have_text("2")
    assert {entry.title for entry in store.list(folder_id=folder)} == {"a", "c"}
    page.keyboard.press("Escape")
    row(page, "b").locator(".history-open").click(modifiers=["Control"])
    row(page, "d").locator(".history-open").click()
    page.locator(".selection-bar").get_by_text("Delete").click()
    expect(page.locator(".selection-bar")).to_be_hidden()
    expect(page.locator(".undo")).to_contain_text("2 conversations are deleted.")
    page.get_by_role("button", name="Undo").click()
    expect(titles(page)).to_have_text(["b", "d"])


def test_a_search_shows_the_text_and_goes_to_the_message(visit, store):
    id = create(store, "Lamps", *(f"message {number}\n" * 12 for number in range(20)))
    first = store.get(id).messages[0].id
    store.append(id, [Message("user", "Where is the needle in the haystack?")], parent_id=first)
    store.append(id, [Message("user", "something else")], parent_id=first)
    page = visit()
    page.fill("#history-search", "NEEDLE")
    expect(page.locator(".history-match")).to_have_text("Where is the needle in the haystack?")
    page.locator(".history-match").click()
    revealed = page.locator(".message.revealed")
    expect(revealed.locator(".body")).to_have_text("Where is the needle in the haystack?")
    expect(revealed).to_be_focused()
    expect(page.locator("#title")).to_have_text("Lamps")


def test_the_title_of_the_model_appears(browser, store):
    def script(chat_request):
        is_title = "Write a title" in chat_request.messages[-1].content
        return ["Cancelling an order"] if is_title else ["Under Orders."]

    services = {"scripted": ScriptedChatService(script, store=store)}
    with serve_in_thread(create_app(services, default="scripted")) as url:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("body[data-ready]")
        send(page, "How do I cancel my order?")
        expect(titles(page)).to_have_text("How do I cancel my order?")
        expect(titles(page)).to_have_text("Cancelling an order", timeout=10000)
        expect(page.locator("#title")).to_have_text("Cancelling an order")
        page.click("#history-menu")
        page.get_by_role("menuitemcheckbox", name="The model writes titles").click()
        page.keyboard.press("Alt+KeyN")
        send(page, "How do I cancel my order?")
        expect(answers(page)).to_have_count(1)
        assert {entry.title_source for entry in store.list()} == {"model", "user"}
        page.close()


def test_opening_the_page_reads_one_page_of_the_list(visit, store):
    for number in range(130):
        create(store, f"Chat {number}")
    requests = []
    page = visit()
    page.on("request", lambda request: requests.append(request.url))
    page.reload()
    page.wait_for_selector("body[data-ready]")
    lists = [url for url in requests if "/v1/conversations?" in url]
    assert len(lists) == 2, "of the pinned ones and of the others"
    expect(page.locator(".history-row").first).to_have_attribute("aria-setsize", "100")


@pytest.mark.parametrize("language", ["zh-CN"])
def test_the_list_speaks_chinese(visit, store, language):
    create(store, "茶")
    page = visit(locale=language)
    expect(headings(page)).to_have_text(["今天"])
    row(page, "茶").hover()
    row(page, "茶").locator(".icon-button").click()
    expect(page.get_by_role("menuitem", name="重命名")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cut_off_at_320_pixels(visit, store, theme):
    create(store, "a very long title that does not fit into a row of the list at all", folder_id=None)
    store.folders.create("A folder with a name that is much longer than the list is wide")
    page = visit(viewport={"width": 320, "height": 600}, color_scheme=theme)
    page.click("#open-sidebar")
    choose(page, "a very long", "Select")
    expect(page.locator(".selection-bar")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    sidebar = page.locator("#sidebar").bounding_box()
    for name in (".selection-bar", ".folder-toggle", ".history-row"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0, name
        assert box["x"] + box["width"] <= sidebar["x"] + sidebar["width"], name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_list_its_menus_and_the_tree(visit, store, branched, theme):
    store.folders.create("Work")
    page = visit(f"/#{branched}", color_scheme=theme)
    assert violations(page) == []
    row(page, "Tea").hover()
    row(page, "Tea").get_by_label("Actions for").click()
    assert violations(page) == []
    page.locator(".menu-item", has_text="Select").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.click("#open-tree")
    expect(page.get_by_role("treeitem")).to_have_count(4)
    assert violations(page) == []
