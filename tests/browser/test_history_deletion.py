"""A deletion in the list of conversations can be taken back until it is final."""

from history_list import choose, create, row, titles
from page_actions import wait_until
from playwright.sync_api import expect


def test_a_deletion_can_be_taken_back(visit, store):
    create(store, "keep")
    id = create(store, "lose", "text")
    page = visit(f"/#{id}")
    choose(page, "lose", "Delete")
    expect(titles(page)).to_have_text(["keep"])
    expect(page.locator("#empty")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(titles(page)).to_have_text(["lose", "keep"])
    choose(page, "lose", "Delete")
    page.keyboard.press("Escape")
    page.locator("#history").focus()
    page.keyboard.press("Control+z")
    expect(titles(page)).to_have_text(["lose", "keep"])
    assert len(store.list()) == 2


def test_control_z_in_the_empty_text_box_takes_a_deletion_back(visit, store):
    id = create(store, "lose", "text")
    page = visit(f"/#{id}")
    choose(page, "lose", "Delete")
    page.fill("#prompt", "x")
    page.press("#prompt", "Control+z")  # of the text
    expect(titles(page)).to_have_count(0)
    page.fill("#prompt", "")
    page.press("#prompt", "Control+z")
    expect(titles(page)).to_have_text(["lose"])


def test_the_draft_of_a_deleted_conversation_is_deleted(visit, store):
    id = create(store, "lose", "text")
    page = visit(f"/#{id}")
    page.fill("#prompt", "a secret")
    names = f"['localStorage', 'sessionStorage'].map((name) => window[name].getItem('turnwise.draft.{id}'))"
    assert page.evaluate(names) == ['"a secret"'] * 2
    choose(page, "lose", "Delete")
    page.get_by_role("button", name="Undo").click()
    page.locator(".history-open").click()
    expect(page.locator("#prompt")).to_have_value("a secret")
    choose(page, "lose", "Delete")
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    assert page.evaluate(names) == [None] * 2


def test_a_held_delete_key_deletes_one_conversation(visit, store):
    for title in ("c", "b", "a"):
        create(store, title)
    page = visit()
    row(page, "a").locator(".history-open").focus()
    page.keyboard.down("Delete")
    expect(titles(page)).to_have_text(["b", "c"])
    page.keyboard.down("Delete")  # repeats
    page.keyboard.up("Delete")
    expect(titles(page)).to_have_text(["b", "c"])
    expect(page.locator(".undo")).to_contain_text("“a” is deleted.")


def test_a_deletion_is_final_when_the_page_goes_away(visit, store):
    create(store, "lose")
    page = visit()
    choose(page, "lose", "Delete")
    page.goto("about:blank")
    wait_until(page, lambda: not store.list())
