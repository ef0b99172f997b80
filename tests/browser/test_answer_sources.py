"""The passages that an answer cites: marks in the text and a list below, the same after a reload."""

import pytest
from accessibility import violations
from page_actions import answers, send
from playwright.sync_api import expect

from turnwise.core.chat_response import ChatDelta
from turnwise.core.messages import Message
from turnwise.core.service_report import Citation, ServiceReport

CITATIONS = (
    Citation(1, "guide/returns.md", "Parcels can be returned for 30 days.", "ab", 0, 36, 4),
    Citation(2, "إرجاع.pdf", "النص الأصلي."),
)
REPORT = ServiceReport("", "en", "knowledge", (), CITATIONS)
ANSWER = "You have **30 days** [1] to return it [2]. There is no [3], and `[1]` is code."


def check_sources(page):
    body = answers(page)
    expect(body.locator(".mark")).to_have_text(["[1]", "[2]"])
    expect(body.locator("p code")).to_have_text("[1]")
    sources = page.get_by_role("region", name="Sources")
    expect(sources.locator("summary")).to_have_text(["[1] guide/returns.md, page 4", "[2] إرجاع.pdf"])
    body.get_by_role("button", name="Source 1: guide/returns.md").press("Enter")
    summary = sources.locator("summary").first
    expect(summary).to_be_focused()
    expect(sources.locator("blockquote").first).to_be_visible()
    expect(sources.locator("blockquote").first).to_have_text("Parcels can be returned for 30 days.")


@pytest.fixture
def stored_answer(store):
    id = store.create(title="Returns", model="scripted").id
    store.append(id, [Message("user", "How long?")])
    store.append(id, [Message("assistant", ANSWER)], {"finish": "stop", "model": "scripted", **REPORT.stored_meta()})
    return id


def test_a_stored_answer_shows_its_sources(visit, script_answers, store, stored_answer):
    page = visit(f"/#{stored_answer}")
    check_sources(page)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    check_sources(page)


def test_a_streamed_answer_shows_its_sources_and_keeps_them_after_a_reload(visit, services, script_answers, store):
    services["scripted"] = script_answers([ANSWER[:20], ANSWER[20:]])
    answer_with_report(services["scripted"], store)
    page = visit()
    send(page, "How long?")
    check_sources(page)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    check_sources(page)


def answer_with_report(service, store):
    """Let the scripted service report its citations in the last chunk, and store them as the service path does."""
    deltas = service._deltas

    async def with_report(request):
        async for delta in deltas(request):
            yield (
                ChatDelta(finish_reason=delta.finish_reason, usage=delta.usage, service=REPORT)
                if delta.usage
                else delta
            )

    service._deltas = with_report


def test_an_answer_without_citations_has_no_list(visit, script_answers):
    script_answers(["A fact [1]."])
    page = visit()
    send(page, "hi")
    expect(answers(page)).to_have_text("A fact [1].")
    expect(page.locator(".mark")).to_have_count(0)
    expect(page.locator(".sources")).to_be_hidden()


def test_axe_finds_nothing_in_an_answer_with_sources(visit, script_answers, store, stored_answer):
    page = visit(f"/#{stored_answer}", viewport={"width": 320, "height": 800})
    expect(page.locator(".source")).to_have_count(2)
    page.locator(".source summary").first.click()
    assert violations(page) == []
