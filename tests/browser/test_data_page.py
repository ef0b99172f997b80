"""The page of the data sets: files are added, looked at, searched, checked and deleted."""

import json

import pytest
from accessibility import violations
from playwright.sync_api import expect

from turnwise.app.datasets.dataset_library import FolderDatasetLibrary
from turnwise.data.check_findings import FINDING_TEXTS
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"


def dialogue(question, answer, **extra):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **extra}


def jsonl(rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


@pytest.fixture
def library(tmp_path):
    with FolderDatasetLibrary(tmp_path / "datasets") as opened:
        yield opened


@pytest.fixture
def server_url(library):
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted", datasets=library)) as url:
        yield url


@pytest.fixture
def script_answers():
    """These tests have no chat."""


@pytest.fixture
def add(library, tmp_path):
    def add_file(name, rows, tail=b""):
        (tmp_path / "upload").write_bytes(jsonl(rows) + tail)
        return library.add(tmp_path / "upload", name)

    return add_file


def numbers(page):
    return page.locator("#data-rows > li > p > b").all_text_contents()


def position(page):
    return page.locator("#data-position")


def test_a_chosen_file_is_added_and_shown(visit):
    page = visit("/data")
    expect(page.locator("#data-sets tbody th")).to_have_text(["example_dialogues.jsonl"])
    content = jsonl([dialogue(HOSTILE, "Seven euros.", meta={"topic": HOSTILE}), dialogue("Hi", "Hello")])
    page.set_input_files("#data-file", {"name": "tea 茶.jsonl", "mimeType": "text/plain", "buffer": content})
    expect(page.locator("#data-name")).to_have_text("tea 茶.jsonl")
    expect(page.locator("#data-sets tbody th")).to_have_text(["tea 茶.jsonl", "example_dialogues.jsonl"])
    first = page.locator("#data-rows > li").first
    expect(first.locator(".data-message .data-text")).to_have_text([HOSTILE, "Seven euros."])
    expect(first.locator(".data-message > b")).to_have_text(["user", "assistant"])
    expect(first.locator("details .data-text")).to_be_hidden()
    first.locator("summary").click()
    expect(first.locator("details .data-text")).to_contain_text(json.dumps({"topic": HOSTILE})[1:-1])
    expect(page.locator("#data-report")).to_contain_text("Usable: 2 of 2 rows can be trained on")
    expect(page.get_by_role("link", name="Train with this")).to_have_attribute(
        "href", "/runs?dataset=tea+%E8%8C%B6.jsonl"
    )
    assert page.title() == "Data – Turnwise"


def test_a_file_that_cannot_be_read_is_refused_with_a_sentence(visit, library):
    page = visit("/data")
    page.set_input_files("#data-file", {"name": "a.jsonl", "mimeType": "text/plain", "buffer": b'{"colour": 3}\n'})
    expect(page.locator("#banner-text")).to_contain_text("a.jsonl: No known data format fits")
    assert [dataset.name for dataset in library.datasets()] == ["example_dialogues.jsonl"]


def test_pages_are_turned_with_keys_and_the_address_keeps_the_place(visit, add):
    add("many.jsonl", [dialogue(f"Question {number}", "Yes.") for number in range(50)])
    page = visit("/data#set=many.jsonl")
    expect(position(page)).to_have_text("1 to 20 of 50")
    expect(page.locator("#data-previous")).to_be_disabled()
    page.keyboard.press("n")
    expect(position(page)).to_have_text("21 to 40 of 50")
    page.keyboard.press("n")
    expect(position(page)).to_have_text("41 to 50 of 50")
    expect(page.locator("#data-next")).to_be_disabled()
    page.reload()
    expect(position(page)).to_have_text("41 to 50 of 50")
    page.keyboard.press("p")
    expect(position(page)).to_have_text("21 to 40 of 50")
    page.fill("#data-number", "33")
    page.press("#data-number", "Enter")
    expect(position(page)).to_have_text("33 to 50 of 50")
    assert numbers(page)[0] == "Dialogue 33"
    page.go_back()
    expect(position(page)).to_have_text("21 to 40 of 50")


def test_a_search_marks_its_text_and_goes_on(visit, add):
    add("many.jsonl", [dialogue(f"Question {number}", "Green Tea" if number % 2 else "No") for number in range(90)])
    page = visit("/data#set=many.jsonl")
    expect(position(page)).to_have_text("1 to 20 of 90")
    page.keyboard.press("/")
    page.keyboard.type("green tea")
    page.keyboard.press("Enter")
    expect(position(page)).to_have_text("“green tea”: 20 found · 1 to 40 of 90")
    expect(page.locator("#data-rows mark").first).to_have_text("Green Tea")
    page.click("#data-next")
    page.click("#data-next")
    expect(position(page)).to_have_text("“green tea”: 5 found · 81 to 90 of 90")
    page.click("#data-all")
    expect(position(page)).to_have_text("1 to 20 of 90")


def test_a_finding_of_the_check_shows_its_dialogues(visit, add):
    tea = dialogue("Is there tea?", "Yes.")
    chats = [tea, dialogue("Hi", "Hello"), tea, dialogue("Hi", "hello!"), dialogue("Who?", "[your name]")]
    add("mixed.jsonl", chats, b"{oops\n")
    page = visit("/data#set=mixed.jsonl")
    findings = page.locator("#data-report li")
    expect(findings.locator("button")).to_have_text(["bad rows", "exact duplicates", "near duplicates", "placeholders"])
    expect(findings.locator(".badge")).to_have_text(["problem", "warning", "note", "warning"])
    page.get_by_role("button", name="exact duplicates").click()
    expect(position(page)).to_have_text("exact duplicates · 1 to 2 of 2")
    expect(page.locator("#data-form")).to_be_in_viewport()
    assert numbers(page) == ["Dialogue 1", "Dialogue 3"]
    page.get_by_role("button", name="bad rows").click()
    expect(page.locator("#data-rows .error")).to_contain_text("it is not valid JSON")
    page.get_by_text("Numbers", exact=True).click()
    expect(page.get_by_role("row", name="turns per dialogue")).to_be_visible()


def test_a_data_set_is_deleted_after_a_confirmation(visit, add, library):
    add("old.jsonl", [dialogue("Hi", "Hello")])
    page = visit("/data#set=old.jsonl")
    page.get_by_role("button", name="Delete “old.jsonl”").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Delete “old.jsonl”").click()
    page.locator("#delete-yes").click()
    expect(page.locator("#data-set")).to_be_hidden()
    expect(page.locator("#data-sets tbody th")).to_have_text(["example_dialogues.jsonl"])
    assert len(library.datasets()) == 1


@pytest.mark.parametrize(
    "settings", [{"color_scheme": "dark", "locale": "zh-CN"}, {"viewport": {"width": 320, "height": 640}}]
)
def test_an_open_data_set_is_accessible(visit, add, settings):
    add("mixed.jsonl", [dialogue("Hi", "Hello " * 1000), dialogue("Hi", "[your name]")], b"{oops\n")
    page = visit("/data#set=mixed.jsonl", **settings)
    expect(page.locator("#data-report li").first).to_be_visible()
    page.locator("#data-report summary").click()
    assert violations(page) == []
    translations = page.evaluate("import('/assets/texts_zh.js').then((module) => Object.keys(module.default))")
    assert {*FINDING_TEXTS, "problem", "warning", "note", "turns per dialogue"} <= set(translations)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_focus_stays_on_the_link_that_opens_a_data_set(visit, add):
    add("tea.jsonl", [dialogue("Tea?", "Yes.")])
    page = visit("/data")
    link = page.get_by_role("link", name="tea.jsonl")
    link.press("Enter")
    expect(link).to_have_attribute("aria-current", "true")
    expect(link).to_be_focused()


def test_the_error_of_one_file_stays_when_the_next_one_is_added(visit):
    page = visit("/data")
    files = [("bad.jsonl", b'{"colour": 3}\n'), ("good.jsonl", jsonl([dialogue("Tea?", "Yes.")]))]
    page.set_input_files(
        "#data-file", [{"name": name, "mimeType": "text/plain", "buffer": text} for name, text in files]
    )
    expect(page.locator("#data-name")).to_have_text("good.jsonl")
    expect(page.locator("#data-progress")).to_be_empty()
    expect(page.locator("#banner-text")).to_contain_text("bad.jsonl")
