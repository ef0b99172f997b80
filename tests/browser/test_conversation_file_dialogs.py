"""Conversations are saved as files, and files are opened."""

import json

import pytest
from history_list import choose, create, titles
from playwright.sync_api import expect


@pytest.mark.parametrize("format", ["Markdown", "JSONL"])
def test_a_conversation_is_saved_as_a_file(visit, store, format):
    create(store, "My tea: 100 %", "Is there tea?")
    page = visit()
    with page.expect_download() as download:
        choose(page, "My tea", f"Save as {format}")
    suffix = "md" if format == "Markdown" else "jsonl"
    assert download.value.suggested_filename == f"My-tea-100.{suffix}"
    assert "Is there tea?" in download.value.path().read_text()


def drop_file(page, name, content):
    page.evaluate(
        """([name, content]) => {
          const data = new DataTransfer();
          data.items.add(new File([content], name));
          for (const type of ['dragover', 'drop']) {
            document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }""",
        [name, content],
    )


def exported(*texts, title="Imported"):
    messages = [{"id": str(i), "parent_id": str(i - 1) if i else None, "role": "user", "content": text}
                for i, text in enumerate(texts)]  # fmt: skip
    return json.dumps({"object": "turnwise.conversation", "title": title, "messages": messages})


def test_a_saved_conversation_opens_again_when_it_is_dropped_on_the_page(visit, store):
    page = visit()
    drop_file(page, "tea.jsonl", exported("Is there tea?"))
    expect(page.locator("#title")).to_have_text("Imported")
    expect(page.locator(".message .body")).to_have_text("Is there tea?")
    page.keyboard.press("Alt+KeyN")
    drop_file(page, "tea.jsonl", exported("Is there tea?"))
    expect(page.locator("#title")).to_have_text("Imported")
    assert len(store.list()) == 1


def test_an_import_reports_what_is_wrong_and_offers_the_rest(visit, store):
    page = visit()
    drop_file(page, "mine.jsonl", f"{exported('one')}\n{exported()}\n{exported('two', title='B')}")
    dialog = page.locator("#partial")
    expect(dialog).to_contain_text("mine.jsonl, conversation 2 (line 2): it holds no messages")
    page.click("#partial-yes")
    expect(page.locator("#imported")).to_contain_text("2 conversations with 2 messages are imported.")
    expect(page.locator("#imported li")).to_have_text(["mine.jsonl, conversation 2 (line 2): it holds no messages"])
    page.click("#imported-yes")
    expect(titles(page)).to_have_text(["B", "Imported"])
    drop_file(page, "notes.txt", "hello")
    expect(page.locator("#banner")).to_contain_text("notes.txt")
