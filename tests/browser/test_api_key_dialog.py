"""The dialog of the chat page for the API key."""

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
def server_url(keys, key):
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", keys=keys)
    with serve_in_thread(app) as url:
        yield url


@pytest.fixture
def script_answers():
    """These tests do not change the script."""


def enter_key(page, key):
    page.fill("#key-field", key)
    page.press("#key-field", "Enter")


def test_the_page_requests_the_key_once_per_tab(visit, key):
    page = visit(ready=False)
    expect(page.locator("#key-text")).to_have_text("This server asks for an API key.")
    expect(page.locator("#key-field")).to_be_focused()
    assert page.locator("#key-field").get_attribute("type") == "password"
    enter_key(page, f"  {key} ")
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


def test_a_wrong_key_shows_an_error(visit, key):
    page = visit(ready=False)
    enter_key(page, "tw-wrong")
    expect(page.locator("#key-text")).to_contain_text("does not accept this key")
    enter_key(page, "with a space")
    expect(page.locator("#key")).to_be_visible()
    enter_key(page, key)
    expect(page.locator("body[data-ready]")).to_be_attached()


@pytest.mark.parametrize("how", ["button", "escape"])
def test_the_dialog_can_be_dismissed_and_opened_again(visit, key, how):
    page = visit(ready=False)
    expect(page.locator("#key")).to_be_visible()
    if how == "button":
        page.click("#key-no")
    else:
        page.keyboard.press("Escape")
    expect(page.locator("#banner-text")).to_contain_text("An API key is missing")
    page.click("#banner-retry")
    enter_key(page, key)
    expect(page.locator("body[data-ready]")).to_be_attached()


def test_a_key_that_is_revoked_while_the_page_is_open_is_requested_again(visit, keys, key):
    page = visit(ready=False)
    enter_key(page, key)
    page.wait_for_selector("body[data-ready]")
    keys.revoke("me")
    new = keys.create("me again")
    page.wait_for_timeout(1100)  # the server reads the keys again after one second
    page.fill("#prompt", "Hello")
    page.press("#prompt", "Enter")
    expect(page.locator("#key-text")).to_contain_text("may have been revoked")
    enter_key(page, new)
    expect(page.locator(".message.assistant:not(.growing) .body")).to_have_text("Hello, you.")
