"""The page of versions: what answers, promotion, canaries, roll-back, differences and history."""

import pytest
from administration import HOSTILE, open_registry, open_site
from playwright.sync_api import expect
from test_translations import english_texts

from turnwise.store.sqlite.key_store import SqliteKeyStore


@pytest.fixture
def registry():
    return open_registry()


@pytest.fixture
def server_url(tmp_path, store, registry):
    with open_site(tmp_path, store, {}, registry) as url:
        yield url


@pytest.fixture
def script_answers():
    """These tests have no chat."""


def entry(page, version):
    return page.locator(".entries .panel").filter(has=page.locator("b", has_text=version))


def confirm(page, name, reason="A test."):
    page.fill("#reason-field", reason)
    page.locator(f"#{name}-yes").click()


def states(registry):
    return [version.state for version in registry.list("shop")]


def test_versions_are_listed_with_what_they_were_made_from(visit):
    page = visit("/versions")
    expect(page.locator(".entries b")).to_have_text(["shop@3", "shop@2", "shop@1"])
    expect(page.locator(".entries .badge")).to_have_text(["candidate", "serving", "retired"])
    facts = "trained from shop@1 · training files: data/talks.jsonl · people whose data it learned: 2"
    expect(entry(page, "shop@2")).to_contain_text(facts)
    expect(entry(page, "shop@2")).to_contain_text("chrf 32.00")
    expect(page.get_by_text("shop@2 answers all conversations.")).to_be_visible()


def test_a_canary_starts_changes_its_share_and_ends(visit, registry):
    page = visit("/versions")
    page.get_by_role("button", name="Canary: shop@3").click()
    expect(page.locator("#canary-text")).to_contain_text(
        "shop@3 answers a share of the conversations, shop@2 the others."
    )
    expect(page.locator("#canary .error")).to_have_text(f"It has not passed the gate: Refused: {HOSTILE}")
    page.get_by_label("Promote it anyway").check()
    page.fill("#share-field", "25")
    confirm(page, "canary")
    expect(page.get_by_text("shop@3 answers 25 % of the conversations, shop@2 the others.")).to_be_visible()
    assert registry.get("shop", 3).share == 0.25
    page.get_by_role("button", name="Change the share: shop@3").click()
    page.fill("#share-field", "100")
    page.get_by_label("Promote it anyway").check()
    page.fill("#reason-field", "More.")
    page.locator("#canary-yes").click()
    expect(page.locator("#canary")).to_be_visible()  # 100 % is no canary
    page.fill("#share-field", "50")
    page.locator("#canary-yes").click()
    expect(page.get_by_text("shop@3 answers 50 %").first).to_be_visible()
    page.get_by_role("button", name="End the canary: shop@3").click()
    expect(page.locator("#retire-text")).to_have_text(
        "shop@2 answers all conversations. shop@3 is retired. It can be promoted later."
    )
    confirm(page, "retire", "Disliked.")
    expect(page.get_by_text("shop@2 answers all conversations.")).to_be_visible()
    assert states(registry) == ["retired", "serving", "retired"]
    assert registry.events("shop")[-1].reason == "Disliked."


def test_a_promotion_against_the_gate_and_a_roll_back(visit, registry):
    page = visit("/versions")
    page.get_by_role("button", name="Promote: shop@3").press("Enter")
    expect(page.locator("#promote-text")).to_have_text(
        "shop@3 answers all requests to shop within a second. shop@2 is retired; a roll-back goes back to it."
    )
    confirm(page, "promote")
    assert states(registry) == ["retired", "serving", "candidate"], "the box is not checked"
    page.get_by_label("Promote it anyway").check()
    page.locator("#promote-yes").click()
    expect(page.locator("#status")).to_have_text("shop@3: serving")
    assert registry.events("shop")[-1].reason == "A test. (forced: it has not passed the gate)"
    page.get_by_role("button", name="Roll back: shop@3").click()
    expect(page.locator("#rollback-text")).to_have_text("shop@2 answers again within a second. shop@3 is retired.")
    confirm(page, "rollback")
    expect(page.locator("#status")).to_have_text("shop@2: serving")
    assert states(registry) == ["retired", "serving", "retired"]


def test_differences_and_the_history_with_reasons_as_text(visit):
    page = visit("/versions")
    page.get_by_text("Compare two versions").click()
    page.get_by_role("button", name="Show the differences").click()
    expect(page.locator("form + div tr", has_text="training.learning_rate").locator("td")).to_have_text(
        ["0.002", "0.003"]
    )
    page.get_by_text("Which version answered when").click()
    periods = page.get_by_role("group", name="Which version answered when").locator("tbody tr")
    expect(periods.locator("th")).to_have_text(["shop@2", "shop@1"])
    expect(periods.first.locator("td").nth(1)).to_have_text("now")
    page.get_by_text("History").click()
    changes = page.get_by_role("group", name="History").locator("tbody tr")
    expect(changes.first.locator("td")).to_have_text(["shop@2", "serving", "gate", "Better."])
    expect(changes.last.locator("td").last).to_have_text(f"Trained: {HOSTILE}")
    assert page.title() == "Versions – Turnwise"


def test_the_page_is_chinese_and_for_admins_only(visit, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    user, admin = keys.create("user"), keys.create("admin", role="admin")
    page = visit("/versions", ready=False, locale="zh-CN")
    for key in (user, admin):
        expect(page.locator("#key-field")).to_have_value("")
        page.fill("#key-field", key)
        page.locator("#key-yes").click()
    page.get_by_text("历史", exact=True).click()
    page.get_by_role("button", name="灰度发布: shop@3").click()
    expect(page.locator("#canary")).to_be_visible()
    names = ("shop", "chrf", "UTC", "talks", "Refused", "Trained", "Better", "digest")
    assert [text for text in english_texts(page) if not any(name in text for name in names)] == []


def test_a_refresh_keeps_the_focus_and_the_error_of_an_action(visit, registry):
    page = visit("/versions")
    page.route("**/promote", lambda route: route.fulfill(status=409, json={"error": {"message": "Not now."}}))
    page.get_by_role("button", name="Retire: shop@3").click()
    confirm(page, "retire")
    expect(page.locator("#banner-text")).to_have_text("Not now.")
    button = page.get_by_role("button", name="Promote: shop@3")
    button.focus()
    registry.change_state("shop", 3, "canary", share=0.1, actor="person", reason="A test.")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(entry(page, "shop@3").locator(".badge")).to_have_text("canary")
    expect(button).to_be_focused()
    expect(page.locator("#banner-text")).to_have_text("Not now.")
