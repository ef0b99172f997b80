"""The page of the loop: cycles with reports, figures, and versions that are rolled back and promoted."""

import httpx
import pytest
from playwright.sync_api import expect

from improvement_samples import write_cycle
from turnwise.app.version_serving.version_supervisor import VersionSupervisor
from turnwise.core.directory_lock import lock_directory
from turnwise.core.model_versions import NewVersion
from turnwise.improve.cycle_reader import CycleReader
from turnwise.server.app import create_app
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread
from version_stand_ins import BreakableRegistry, UncheckedControl, open_scripted_version

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"


@pytest.fixture
def registry():
    """Two versions that served, and one that the gate refused."""
    registry = BreakableRegistry()
    for number, has_passed in ((1, False), (2, True), (3, False)):
        scorecard = {"gate": {"reason": f"Refused: {HOSTILE}"}} if number > 1 else {}
        new = NewVersion("shop", "tiny", f"digest-{number}", scorecard=scorecard, has_passed_gate=has_passed)
        registry.add(new, reason="Added.")
    registry.change_state("shop", 2, "serving", actor="person", reason="Better.")
    return registry


@pytest.fixture
def keys(tmp_path):
    return SqliteKeyStore(tmp_path / "keys.db")


@pytest.fixture
def server_url(registry, store, keys, tmp_path):
    supervisor = VersionSupervisor(registry, "shop", open_scripted_version(store), flush_seconds=0)
    app = create_app(
        {"shop": supervisor.service, "plain": ScriptedChatService(name="plain", store=store)}, default="shop",
        version_control=UncheckedControl(registry), improvement=CycleReader(store.collected_answers, tmp_path),
        keys=keys,
    )  # fmt: skip
    with serve_in_thread(app) as url:
        yield url
    supervisor._pool.close()


@pytest.fixture
def script_answers():
    """These tests have no chat."""


@pytest.fixture
def cycles(tmp_path):
    """A promoted and a refused cycle, and one that was interrupted."""
    write_cycle(tmp_path, "shop", version=2)
    write_cycle(tmp_path, "shop", outcome="refused", reason=f"Refused: {HOSTILE}", version=3, chrf=(27.5, 31.0))
    write_cycle(tmp_path, "shop", outcome=None, has_report=False)


def section(page, name, model="shop"):
    return page.get_by_label(model, exact=True).locator(f".improve-{name}")


def serving(registry):
    return registry.routing("shop").serving.number


def test_cycles_are_listed_newest_first_with_reasons_as_text(visit, cycles):
    page = visit("/improve")
    entries = section(page, "cycles").locator(".improve-entry")
    expect(entries.locator("b")).to_have_text(["Cycle 3", "Cycle 2", "Cycle 1"])
    expect(entries.locator(".badge")).to_have_text(["interrupted in replay", "refused", "promoted"])
    expect(entries.nth(1).locator(".improve-reason")).to_have_text(f"Refused: {HOSTILE}")
    expect(entries.nth(2)).to_contain_text("shop@2")
    expect(entries.nth(2)).to_contain_text(
        "14 answers (12 new) · 10 examples of 4 people · dropped: 2 duplicate · masked: 1 email"
    )
    expect(section(page, "now")).to_have_text(
        "0 answers with feedback since the last training. "
        "The last cycle was interrupted; turnwise improve continues it."
    )
    expect(section(page, "now", "plain")).to_have_text(
        "0 answers with feedback so far. Start a cycle: turnwise improve --once"
    )
    expect(section(page, "versions", "plain")).to_be_hidden()
    assert page.title() == "Improve – Turnwise"


def test_a_running_cycle_is_shown(visit, cycles, tmp_path):
    with lock_directory(tmp_path / "shop"):
        page = visit("/improve")
        expect(section(page, "now")).to_contain_text("A cycle runs now.")
        expect(section(page, "cycles").locator(".badge").first).to_have_text("runs: replay")


def test_figures_are_lines_with_a_description_and_a_table(visit, cycles):
    page = visit("/improve")
    image = page.get_by_role("img", name="chrF of the new version")
    assert image.get_attribute("aria-label") == (
        "chrF of the new version over 2 cycles: 27.5 in the last one, beside 31 of the version that served; "
        "between 27.5 and 31."
    )
    assert image.locator(".figure-new").get_attribute("d") == "M5 5L235 59"
    page.get_by_text("Numbers").click()
    rows = section(page, "figures").locator("tbody tr")
    expect(rows.first.locator("th, td")).to_have_text(["2", "@3", "27.5", "31", "10"])


def test_a_report_opens_above_the_page_and_closes(visit, cycles):
    page = visit("/improve")
    page.get_by_label("Report of cycle 1 of shop").click()
    report = page.get_by_role("dialog", name="Report of cycle 1 of shop")
    expect(report.get_by_role("heading", name="The new version is better")).to_be_visible()
    expect(report.locator("p")).to_have_css("color", "rgb(0, 128, 0)")
    page.keyboard.press("Escape")
    expect(report).to_have_count(0)


def test_a_report_opens_in_a_tab_of_its_own(visit, cycles):
    page = visit("/improve")
    with page.context.expect_page() as opened:
        page.get_by_label("Report of cycle 1 of shop").click(modifiers=["Control"])
    expect(opened.value.get_by_role("heading")).to_have_text("The new version is better")
    expect(opened.value.locator("p")).to_have_css("color", "rgb(0, 128, 0)")


def test_a_roll_back_needs_a_confirmation_and_a_reason(visit, registry):
    page = visit("/improve")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Roll back").click()
    page.locator("#rollback-yes").click()
    assert serving(registry) == 2, "the reason is missing"
    page.fill("#reason-field", "It is impolite.")
    page.locator("#rollback-yes").click()
    expect(page.locator("#status")).to_have_text("shop@1: serving")
    expect(section(page, "versions").locator(".is-serving b")).to_have_text("shop@1")
    assert serving(registry) == 1
    assert registry.events("shop")[-1].reason == "It is impolite."


def test_a_version_that_served_before_is_promoted(visit, registry):
    page = visit("/improve")
    entry = section(page, "versions").locator(".improve-entry").filter(has_text="shop@1")
    entry.get_by_role("button", name="Promote").click()
    page.fill("#reason-field", "Try it again.")
    page.locator("#promote-yes").click()
    expect(page.locator("#status")).to_have_text("shop@1: serving")
    assert serving(registry) == 1


def test_a_refused_version_is_promoted_only_after_a_warning(visit, registry):
    page = visit("/improve")
    entry = section(page, "versions").locator(".improve-entry").filter(has_text="shop@3")
    entry.get_by_role("button", name="Promote").click()
    expect(page.locator("#promote .error")).to_have_text(f"It has not passed the gate: Refused: {HOSTILE}")
    page.fill("#reason-field", "I know better.")
    page.locator("#promote-yes").click()
    assert serving(registry) == 2, "the box is not checked"
    page.get_by_label("Promote it anyway").check()
    page.locator("#promote-yes").click()
    expect(page.locator("#status")).to_have_text("shop@3: serving")
    assert serving(registry) == 3


def test_a_change_that_is_not_possible_is_an_error_above_the_page(visit, registry):
    page = visit("/improve")
    page.get_by_role("button", name="Roll back").click()
    page.fill("#reason-field", "It is impolite.")
    registry.is_broken = True
    page.locator("#rollback-yes").click()
    expect(page.locator("#banner-text")).to_have_text("The registry is busy.")
    registry.is_broken = False
    assert serving(registry) == 2


def test_the_page_works_with_the_key_of_an_admin_only(visit, cycles, keys, server_url):
    user, admin = (keys.create(role, role=role) for role in ("user", "admin"))
    assert httpx.get(f"{server_url}/v1/improvements").status_code in (200, 401)  # the server reads its keys each second
    page = visit("/improve", ready=False)
    page.fill("#key-field", user)
    page.locator("#key-yes").click()
    expect(page.locator("#key-text")).to_contain_text("does not allow this page")
    page.fill("#key-field", admin)
    page.locator("#key-yes").click()
    page.get_by_label("Report of cycle 1 of shop").click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("The new version is better")
