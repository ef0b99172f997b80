"""The chat page of a server that asks for a key."""

import pytest
from playwright.sync_api import expect

from turnwise.server.app import create_app
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture
def keys(tmp_path):
    return SqliteKeyStore(tmp_path / "keys.db")


@pytest.fixture
def key(keys):
    return keys.create("me")


@pytest.fixture
def address(keys, key):
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", keys=keys)
    with serve_in_thread(app) as url:
        yield url


@pytest.fixture
def talk():
    """The scripted chat stays as it is here."""


def enter(page, key):
    page.fill("#key-field", key)
    page.press("#key-field", "Enter")


def test_the_page_asks_for_a_key_once_and_keeps_it_for_the_tab(visit, key):
    page = visit(ready=False)
    expect(page.locator("#key-text")).to_have_text("This server asks for an API key.")
    expect(page.locator("#key-field")).to_be_focused()
    assert page.locator("#key-field").get_attribute("type") == "password"
    enter(page, f"  {key} ")
    expect(page.locator("body[data-ready]")).to_be_attached()
    expect(page.locator("#key")).to_be_hidden()
    page.fill("#prompt", "Hello")
    page.press("#prompt", "Enter")
    expect(page.locator(".message.assistant:not(.growing) .body")).to_have_text("Hello, you.")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#key")).to_be_hidden()
    assert page.evaluate("sessionStorage.getItem('turnwise.key')") == key
    assert key not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")


def test_a_wrong_key_is_said_to_be_wrong(visit, key):
    page = visit(ready=False)
    enter(page, "tw-wrong")
    expect(page.locator("#key-text")).to_contain_text("does not accept this key")
    enter(page, "with a space")
    expect(page.locator("#key")).to_be_visible()
    enter(page, key)
    expect(page.locator("body[data-ready]")).to_be_attached()


@pytest.mark.parametrize("how", ["button", "escape"])
def test_without_a_key_the_page_says_so_and_asks_again_on_demand(visit, key, how):
    page = visit(ready=False)
    expect(page.locator("#key")).to_be_visible()
    if how == "button":
        page.click("#key-no")
    else:
        page.keyboard.press("Escape")
    expect(page.locator("#banner-text")).to_contain_text("An API key is missing")
    page.click("#banner-retry")
    enter(page, key)
    expect(page.locator("body[data-ready]")).to_be_attached()


def test_a_key_that_is_revoked_while_the_page_is_open(visit, keys, key):
    page = visit(ready=False)
    enter(page, key)
    page.wait_for_selector("body[data-ready]")
    keys.revoke("me")
    new = keys.create("me again")
    page.wait_for_timeout(1100)  # the server looks again after a second
    page.fill("#prompt", "Hello")
    page.press("#prompt", "Enter")
    expect(page.locator("#key-text")).to_contain_text("may have been revoked")
    enter(page, new)
    expect(page.locator(".message.assistant:not(.growing) .body")).to_have_text("Hello, you.")
