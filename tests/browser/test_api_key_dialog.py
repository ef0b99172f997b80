"""The dialog for the API key, which all pages share."""

import pytest
from playwright.sync_api import expect

from turnwise.chat.classification_service import StepwiseClassificationService
from turnwise.server.app import create_app
from turnwise.store import open_monitor_reader, open_monitor_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture
def keys(tmp_path):
    return SqliteKeyStore(tmp_path / "keys.db")


@pytest.fixture
def key(keys):
    return keys.create("me", role="admin")


@pytest.fixture
def server_url(keys, key, tmp_path):
    open_monitor_store(f"sqlite:///{tmp_path / 'monitor.db'}").close()
    reader = open_monitor_reader(f"sqlite:///{tmp_path / 'monitor.db'}")
    classifiers = {"names": StepwiseClassificationService("names", 0, "token_classification", ("PER",), False, 8, None)}
    app = create_app(
        {"scripted": ScriptedChatService()}, default="scripted", classifiers=classifiers, monitor=reader, keys=keys
    )
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
    expect(page.locator("#key")).to_have_count(0)
    page.fill("#prompt", "Hello")
    page.press("#prompt", "Enter")
    expect(page.locator(".message.assistant:not(.growing) .body")).to_have_text("Hello, you.")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#key")).to_have_count(0)
    assert page.evaluate("JSON.parse(sessionStorage.getItem('turnwise.key'))") == key
    assert key not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")


def test_a_key_that_one_page_requested_is_used_by_all(visit, key):
    page = visit("/classify", ready=False)
    enter_key(page, key)
    expect(page.locator("#classify-model option")).to_have_text(["names"])
    for label, content in (
        ("Monitor", "#monitor-empty >> text=There are no counts yet."),
        ("Chat", "#model >> text=scripted"),
        ("API", "#docs-operations summary >> nth=0"),
        ("Classify", "#classify-form"),
    ):
        page.get_by_role("link", name=label, exact=True).click()
        expect(page.locator(content)).to_be_visible()
        page.wait_for_selector("body[data-ready]")
        expect(page.locator("#key, #banner:visible")).to_have_count(0)


@pytest.mark.parametrize("path", ["/", "/classify", "/monitor"])
def test_a_wrong_key_shows_an_error(visit, key, path):
    page = visit(path, ready=False)
    expect(page.get_by_label("API key", exact=True)).to_have_attribute("aria-invalid", "false")
    enter_key(page, "tw-wrong")
    expect(page.get_by_role("dialog", name="does not accept this key")).to_be_visible()
    expect(page.get_by_label("API key", exact=True)).to_have_attribute("aria-invalid", "true")
    enter_key(page, "with a space")
    expect(page.locator("#key")).to_be_visible()
    enter_key(page, key)
    expect(page.locator("body[data-ready]")).to_be_attached()
    expect(page.locator("#key, #banner:visible")).to_have_count(0)


def test_the_focus_stays_in_the_dialog_and_returns_afterwards(visit, key):
    page = visit("/classify", ready=False)
    expect(page.locator("#key-field")).to_be_focused()
    visited = set()
    for _ in range(8):
        page.keyboard.press("Tab")
        visited.add(page.evaluate("document.activeElement.id"))
    assert {"key-field", "key-no", "key-yes"} <= visited <= {"key-field", "key-no", "key-yes", ""}  # "": the browser
    page.locator("#key-field").focus()
    page.keyboard.press("Escape")
    expect(page.locator("#classify-text")).to_be_focused()
    page.locator("#banner-retry").focus()
    page.keyboard.press("Enter")  # hides the button that had the focus
    enter_key(page, key)
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("main")).to_be_focused()


@pytest.mark.parametrize(
    ("path", "how"), [("/", "button"), ("/", "escape"), ("/classify", "button"), ("/monitor", "escape")]
)
def test_the_dialog_can_be_dismissed_and_opened_again(visit, key, path, how):
    page = visit(path, ready=False)
    expect(page.locator("#key")).to_be_visible()
    if how == "button":
        page.click("#key-no")
    else:
        page.keyboard.press("Escape")
    expect(page.locator("#banner-text")).to_contain_text("An API key is missing")
    expect(page.locator("#key")).to_have_count(0)
    page.click("#banner-retry")
    enter_key(page, key)
    expect(page.locator("body[data-ready]")).to_be_attached()
    expect(page.locator("#banner")).to_be_hidden()


def test_a_key_that_is_revoked_while_the_page_is_open_is_requested_again(visit, keys, key):
    page = visit(ready=False)
    enter_key(page, key)
    page.wait_for_selector("body[data-ready]")
    keys.revoke("me")
    new = keys.create("me again", role="admin")
    page.wait_for_timeout(1100)  # the server reads the keys again after one second
    page.fill("#prompt", "Hello")
    page.press("#prompt", "Enter")
    expect(page.locator("#key-text")).to_contain_text("may have been revoked")
    enter_key(page, new)
    expect(page.locator(".message.assistant:not(.growing) .body")).to_have_text("Hello, you.")


@pytest.fixture
def guest_key(keys):
    return keys.create("guest")


def test_a_page_asks_for_another_key_if_the_role_does_not_suffice(guest_key, visit, key):
    page = visit("/monitor", ready=False)
    enter_key(page, guest_key)
    expect(page.locator("#key-text")).to_have_text("The role of this key does not allow this page. Another key may.")
    enter_key(page, key)
    expect(page.locator("#monitor-empty")).to_contain_text("There are no counts yet.")
