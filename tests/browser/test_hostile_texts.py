"""Hostile texts as answers, titles, file names and texts of a scenario are only text, and the page stays responsive."""

import pytest
from hostile_texts import DEPTH, HOSTILE, MATHEMATICS, SIZE
from page_actions import answers
from playwright.sync_api import expect

from turnwise.core.messages import Message

MAX_SECONDS = 8  # on a busy machine; what takes quadratic time takes minutes
ELEMENTS = {
    "a", "bdi", "blockquote", "br", "button", "code", "details", "div", "em", "h2", "h3", "h4", "h5", "h6", "hr",
    "input", "li", "ol", "p", "path", "pre", "s", "section", "span", "strong", "sub", "summary", "sup", "svg",
    "table", "tbody", "td", "th", "thead", "tr", "ul", "math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace",
    "mfrac", "msqrt", "mroot", "mstyle", "merror", "mpadded", "mphantom", "menclose", "msub", "msup", "msubsup",
    "munder", "mover", "munderover", "mtable", "mtr", "mtd",
}  # fmt: skip
# Draws a text at once, or in pieces as they arrive, and lists what must not be there.
DRAW = """async ({ text, numPieces }) => {
  const { MarkdownView } = await import('/assets/markdown.js');
  const element = document.getElementById('thread').appendChild(document.createElement('div'));
  const view = new MarkdownView(element);
  const start = performance.now();
  for (let piece = 1; piece < numPieces; piece += 1) {
    await view.update(text.slice(0, Math.ceil((text.length * piece) / numPieces)), { isStreaming: true });
  }
  await view.update(text);
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const seconds = (performance.now() - start) / 1000;
  await new Promise((done) => setTimeout(done, 100));
  const all = [...element.querySelectorAll('*')];
  const attributes = all.flatMap((e) => [...e.attributes].map(({ name, value }) => [e.localName, name, value]));
  const result = {
    seconds,
    elements: [...new Set(all.map((e) => e.localName))],
    handlers: attributes.filter(([, name]) => /^(on.*|id|name|src|srcdoc|action)$/.test(name)),
    styles: attributes.filter(([, name, value]) => name === 'style' && /url|fixed|absolute/.test(value)),
    links: attributes.filter(([, name]) => name.endsWith('href')).map(([, , value]) => value),
    hosts: all.filter((e) => e.localName === 'a').map((e) => e.nextSibling?.textContent ?? ''),
    hacked: window.hacked ?? null,
    text: element.textContent.length,
  };
  element.remove();
  return result;
}"""


@pytest.fixture(scope="module")
def drawing_page(browser, server_url, services):
    """The chat page. `requests` of the page lists those to other hosts, `dialogs` the dialogs."""
    context = browser.new_context()
    page = context.new_page()
    page.foreign_requests, page.shown_dialogs = [], []
    context.route(
        lambda url: not url.startswith(server_url),
        lambda route: (page.foreign_requests.append(route.request.url), route.abort()),
    )
    page.on("dialog", lambda dialog: (page.shown_dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(server_url)
    page.wait_for_selector("body[data-ready]")
    yield page
    context.close()


@pytest.mark.parametrize("num_pieces", [1, 12], ids=["at once", "streamed"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_only_text(drawing_page, name, num_pieces):
    title, address = drawing_page.title(), drawing_page.url
    result = drawing_page.evaluate(DRAW, {"text": HOSTILE[name], "numPieces": num_pieces})
    assert result["hacked"] is None
    assert drawing_page.shown_dialogs == []
    assert drawing_page.foreign_requests == []
    assert set(result["elements"]) <= ELEMENTS
    assert result["handlers"] == []
    assert result["styles"] == []
    assert [link for link in result["links"] if not link.startswith(("http://", "https://", "mailto:"))] == []
    assert result["seconds"] < MAX_SECONDS
    assert result["text"] > 0
    assert (drawing_page.title(), drawing_page.url) == (title, address)
    assert drawing_page.locator("#prompt").evaluate("e => e.localName") == "textarea"


@pytest.mark.parametrize(
    "name", ["a link to another host than it says", "a reversed link", "a mark of direction in a link"]
)
def test_a_link_that_deceives_is_followed_by_its_host(drawing_page, name):
    hosts = drawing_page.evaluate(DRAW, {"text": HOSTILE[name], "numPieces": 1})["hosts"]
    assert hosts[0] == " (evil.example)"


def test_the_table_has_at_least_sixty_texts():
    assert len(HOSTILE) >= 60
    assert len(MATHEMATICS) >= 10


@pytest.fixture
def watch(visit):
    """Open a page whose dialogs fail the test; `visit` fails it for requests to other hosts."""

    def open_page(path):
        page = visit(path)
        page.on("dialog", lambda dialog: pytest.fail(f"A dialog: {dialog.message}"))
        return page

    return open_page


SHORT = {name: text for name, text in HOSTILE.items() if name not in DEPTH and name not in SIZE and len(text) < 10_000}


def test_hostile_titles_are_only_text(watch, script_answers, store):
    for text in SHORT.values():
        store.create(title=text[:150], model="scripted")
    page = watch("/")
    rows = page.locator(".history-open")
    expect(rows.first).to_be_visible()
    shown = set()
    while len(shown) < len(SHORT):  # only the rows in view are drawn
        before = len(shown)
        shown |= {row.get_attribute("data-id") or row.inner_text() for row in rows.all()}
        assert page.locator("#history").locator("img, script, iframe, b, a, svg:not(.icon)").count() == 0
        rows.last.scroll_into_view_if_needed()
        page.wait_for_timeout(100)
        if len(shown) == before:
            break
    assert len(shown) > 60
    for index in range(0, rows.count(), 9):
        title = rows.nth(index).inner_text()
        rows.nth(index).click()
        expect(page.locator("#title")).to_have_text(title)
    assert page.locator("#title *").count() == 0
    assert page.evaluate("window.hacked ?? null") is None


def test_hostile_file_names_and_texts_of_a_scenario_are_only_text(watch, script_answers, store):
    citations = [
        {"number": number, "source": text, "text": text, "document_hash": "", "page": 1}
        for number, text in enumerate(SHORT.values(), start=1)
    ]
    answer = " ".join(f"Fact [{number}]." for number in range(1, len(SHORT) + 1))
    id = store.create(title="Facts", model="scripted").id
    store.append(id, [Message("user", "Which facts?")])
    for text in [*SHORT.values()][::8]:
        decisions = [{"step": text, "outcome": text, "detail": text, "milliseconds": 1.0}]
        service = {"scenario": text, "decision": f"template:{text}", "citations": citations, "decisions": decisions}
        store.append(id, [Message("assistant", answer), Message("user", text)], {"finish": "stop", "service": service})
    page = watch(f"/#{id}")
    expect(answers(page).first).to_contain_text("Fact [1].")
    page.evaluate("document.querySelectorAll('.source').forEach((source) => { source.open = true; })")
    page.wait_for_timeout(300)
    thread = page.locator("#thread")
    assert thread.locator("img, script, iframe, form:not(.edit), svg:not(.icon), style, b").count() == 0
    assert thread.locator(".source bdi").first.text_content() == next(iter(SHORT.values()))
    assert page.evaluate("window.hacked ?? null") is None


@pytest.mark.parametrize("name", SIZE)
def test_the_page_answers_while_it_opens_a_large_answer(watch, script_answers, store, name):
    id = store.create(title="Large", model="scripted").id
    store.append(id, [Message("user", HOSTILE[name][:2000]), Message("assistant", HOSTILE[name])], {"finish": "stop"})
    page = watch(f"/#{id}")
    page.fill("#prompt", "still here")
    expect(page.locator("#send")).to_be_enabled()
    page.keyboard.press("Alt+KeyN")
    expect(page.locator("#empty")).to_be_visible()
