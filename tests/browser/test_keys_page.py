"""The page of API keys: the first key, creation, revocation, usage, roles, and Chinese."""

import re

import pytest
from administration import add_usage, open_registry, open_site
from playwright.sync_api import expect
from test_translations import english_texts

from turnwise.store.sqlite.key_store import SqliteKeyStore

KEY = re.compile("tw-[0-9a-f]{64}")


@pytest.fixture
def keys(tmp_path):
    return SqliteKeyStore(tmp_path / "keys.db")


@pytest.fixture
def server_url(tmp_path, store):
    with open_site(tmp_path, store, {}, open_registry()) as url:
        yield url


@pytest.fixture
def script_answers():
    """These tests have no chat."""


def sign_in(page, key):
    page.fill("#key-field", key)
    page.locator("#key-yes").click()


def rows(page):
    return page.locator("#keys-list tbody tr")


def create(page, name):
    page.fill("#new-key-name", name)
    page.get_by_role("button", name="Create the key").click()


def stored_key(page):
    return page.evaluate("JSON.parse(sessionStorage.getItem('turnwise.key'))")


def test_the_first_key_is_an_admins_and_the_tab_goes_on_with_it(visit, keys):
    page = visit("/keys")
    expect(page.locator("#keys-open")).to_contain_text("This server asks for no key.")
    expect(page.locator("#new-key-role")).to_be_disabled()
    create(page, "me")
    expect(page.locator("#first-key-text")).to_contain_text("answers nobody without a key")
    page.locator("#first-key-no").click()
    assert keys.list() == []
    create(page, "me")
    page.locator("#first-key-yes").click()
    key = page.get_by_role("dialog").get_by_label("API key").input_value()
    assert KEY.fullmatch(key)
    page.keyboard.press("Escape")
    expect(rows(page).locator("th")).to_have_text(["me (this tab)"])
    expect(rows(page)).to_contain_text("the only admin")
    expect(page.locator("#keys-open, #key")).to_have_count(1)  # the note, which is hidden, and no dialog
    expect(page.locator("#keys-open")).to_be_hidden()
    assert stored_key(page) == key
    assert keys.list()[0].role == "admin"
    assert key not in page.content()


def test_a_user_who_keeps_no_key_is_asked_for_the_one_that_was_shown(visit):
    page = visit("/keys")
    create(page, "me")
    page.get_by_label("Go on with the new key in this tab").uncheck()
    page.locator("#first-key-yes").click()
    key = page.get_by_role("dialog").get_by_label("API key").input_value()
    page.locator("#created-key-yes").click()
    sign_in(page, key)
    expect(rows(page)).to_have_count(1)


def test_keys_are_created_with_limits_and_revoked(visit, keys):
    admin = keys.create("admin", role="admin")
    page = visit("/keys", ready=False)
    sign_in(page, admin)
    page.select_option("#new-key-role", "agent")
    page.select_option("#new-key-collect", "full")
    page.fill("#new-key-rate", "60")
    create(page, "shop <b>")
    expect(page.locator("#banner-text")).to_contain_text("A key's name has")
    page.fill("#new-key-name", "shop app")
    page.get_by_role("button", name="Create the key").dblclick()
    page.locator("#created-key-yes").click()
    expect(rows(page)).to_have_count(2)
    expect(page.locator("#banner")).to_be_hidden()
    expect(rows(page).nth(1)).to_contain_text("60 per minute")
    stored = keys.list()[1]
    assert (stored.name, stored.role, stored.consent, stored.requests_per_minute) == ("shop app", "agent", "full", 60)
    assert stored_key(page) == admin, "only the first key replaces that of the tab"
    page.get_by_role("button", name="Revoke shop app").click()
    page.locator("#revoke-no").click()
    assert len(keys.list()) == 2
    page.get_by_role("button", name="Revoke shop app").press("Enter")
    page.locator("#revoke-yes").press("Enter")
    expect(rows(page)).to_have_count(1)
    assert [key.name for key in keys.list()] == ["admin"]


def test_the_usage_is_a_table_and_bars(visit, keys, tmp_path):
    admin = keys.create("admin", role="admin")
    add_usage(tmp_path / "keys.db", "admin", "gone")
    page = visit("/keys", ready=False)
    sign_in(page, admin)
    requests, tokens = sum(range(10, 30)), sum(range(1000, 1020))
    expect(rows(page).nth(1).locator("th, td")).to_have_text(
        ["gone", "revoked", f"{requests:,}", f"{tokens:,}", "4,000", "19"]
    )
    expect(page.locator("#usage-chart rect")).to_have_count(30)
    expect(page.locator("#usage-chart svg")).to_have_attribute(
        "aria-label", re.compile("Requests by day from .*, at most 58")
    )
    page.select_option("#usage-key", "gone")
    page.select_option("#usage-measure", "errors")
    expect(page.locator("#usage-chart svg")).to_have_attribute(
        "aria-label", re.compile("Errors by day from .*, at most 2")
    )
    page.select_option("#usage-days", "7")
    expect(page.locator("#usage-chart rect")).to_have_count(7)
    page.get_by_text("Numbers").click()
    expect(page.locator("#usage-table tbody tr")).to_have_count(7)
    expect(page.locator("#usage-table tbody tr").first.locator("td")).to_have_text(["10", "1,000", "200", "0"])


def test_a_user_sees_no_keys_and_the_page_is_chinese(visit, keys):
    user, admin = keys.create("user"), keys.create("admin", role="admin")
    page = visit("/keys", ready=False, locale="zh-CN")
    sign_in(page, user)
    expect(page.locator("#key-text")).to_have_text("此密钥的角色无权使用本页。请换一个密钥。")
    expect(page.locator("#keys-list")).to_be_empty()
    sign_in(page, admin)
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="撤销 user").click()
    expect(page.locator("#revoke")).to_be_visible()
    names = re.compile(r"admin|user|UTC|tw-\w+")
    assert [text for text in english_texts(page) if re.search("[A-Za-z]{2,}", names.sub("", text))] == []
