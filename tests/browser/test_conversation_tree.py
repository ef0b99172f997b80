"""The tree of a conversation, and going on from a branch."""

import pytest
from history_list import titles
from page_actions import answers, send
from playwright.sync_api import expect


def test_the_tree_shows_all_branches_and_leads_to_them(visit, store, branched):
    page = visit(f"/#{branched}")
    page.click("#open-tree")
    items = page.get_by_role("treeitem")
    expect(items).to_have_count(4)
    expect(page.locator(".tree-dialog")).to_contain_text("4 turns, 2 branches")
    assert [item.get_attribute("aria-level") for item in items.all()] == ["1", "2", "2", "2"]
    expect(items.nth(3)).to_contain_text("version 2 of 2 · other")
    expect(items.nth(3)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(items.nth(2)).to_contain_text("And coffee?")
    expect(items.nth(2)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(items.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(items.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".message .body")).to_have_text(["Is there tea?", "Yes, green tea.", "And coffee?"])
    expect(page.locator(".message.revealed .body")).to_have_text("Yes, green tea.")
    assert len(store.get(branched).tree) == 4


@pytest.mark.parametrize("where", ["tree", "message"])
def test_a_branch_continues_in_a_new_conversation(visit, store, script_answers, branched, where):
    script_answers(["Hot."])
    page = visit(f"/#{branched}")
    if where == "tree":
        page.click("#open-tree")
        page.locator(".tree-dialog").get_by_role("button", name="Continue from here").click()
    else:
        page.locator(".message.last").get_by_label("Continue from here in a new conversation").click()
    expect(titles(page)).to_have_count(2)
    assert not page.url.endswith(branched)
    expect(page.locator(".message .body")).to_have_text(["Is there tea?", "No."])
    send(page, "Why?")
    expect(answers(page)).to_have_text(["No.", "Hot."])
    assert len(store.get(branched).tree) == 4, "the original stays as it is"
