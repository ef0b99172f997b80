"""The panel "Why these words?" with a real model: probabilities, alternatives, going on from another word, beams."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from accessibility import violations
from page_actions import answers, endless, send
from playwright.sync_api import expect

from turnwise.app.chat_services import open_chat_service
from turnwise.testing import ScriptedChatService

WEB = Path(__file__).parents[2] / "src" / "turnwise" / "server" / "web"
QUESTION = "How do I cancel my order?"
GREEDY = {"temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def model():
    with open_chat_service(max_num_seqs=8) as service:
        yield service


@pytest.fixture
def chat_page(services, script_answers, store, model, visit):
    """Open the page with the real model and one answered question."""
    from dataclasses import replace

    def open_page(**settings):
        services["scripted"] = replace(model, name="scripted", store=store)
        page = visit(**settings)
        stored = {"parameters": GREEDY}
        page.evaluate("text => localStorage.setItem('turnwise.settings.new', text)", json.dumps(stored))
        page.reload()
        page.wait_for_selector("body[data-ready]")
        send(page, QUESTION)
        expect(answers(page)).to_have_count(1)
        expect(page.locator("#send")).to_be_visible()
        return page

    return open_page


def open_panel(page):
    page.get_by_role("button", name="Why these words?").last.click()
    expect(page.locator("#token-panel .token-choice").first).to_be_visible()
    return page.locator("#token-panel")


def place(page):
    """The place that the address names: message, position and ids."""
    search = parse_qs(urlsplit(page.url).fragment.partition("?")[2])
    return search.get("message"), int(search["at"][0]) if "at" in search else None, search.get("ids")


def selected(panel):
    return panel.locator(".token-view [aria-selected=true]")


def test_the_panel_shows_every_word_of_the_answer_with_its_probability(chat_page):
    page = chat_page()
    panel = open_panel(page)
    words = panel.locator(".token-view .token:not(.token-end)")
    assert "".join(words.all_text_contents()) == answers(page).last.text_content()
    assert all(re.search(r", (< )?[\d.]+ %$", word.get_attribute("aria-label")) for word in words.all())
    expect(selected(panel)).to_be_focused()
    expect(panel.locator(".answer-origin")).to_contain_text("12 tokens")
    expect(panel.locator(".answer-origin")).to_contain_text("temperature 0")


def test_arrow_keys_move_over_the_words_and_the_address_follows(chat_page):
    page = chat_page()
    panel = open_panel(page)
    words = panel.locator(".token-view .token")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(words.nth(2)).to_be_focused()
    expect(panel.locator(".token-heading")).to_contain_text("Place 3 of 12")
    assert place(page)[1:] == (2, None)
    page.keyboard.press("End")
    expect(words.last).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    assert place(page) == (None, None, None)
    expect(page.get_by_role("button", name="Why these words?")).to_be_focused()


def test_alt_w_opens_and_closes_the_panel_for_the_last_answer(chat_page):
    page = chat_page()
    page.keyboard.press("Alt+KeyW")
    expect(page.locator("#token-panel .token-choice").first).to_be_visible()
    page.keyboard.press("Alt+KeyW")
    expect(page.locator("#token-panel")).to_have_count(0)


def test_a_removed_word_names_the_stage_and_the_reason(chat_page):
    panel = open_panel(chat_page())
    removed = panel.locator(".token-choice", has_text="removed by temperature").first
    expect(removed).to_contain_text("A temperature of 0 takes only the most likely token.")
    panel.get_by_text("As a table").click()
    header = panel.locator(".token-table thead th").all_text_contents()
    assert header == ["Token", "id", "Rank", "Model", "temperature", "Removed by"]
    assert panel.locator(".token-table tbody tr").count() == 51  # fifty tokens, and all others


def test_an_answer_goes_on_from_another_word_as_another_branch(chat_page, store):
    page = chat_page()
    before = answers(page).last.text_content()
    panel = open_panel(page)
    page.keyboard.press("ArrowRight")
    expect(panel.locator(".token-heading")).to_contain_text("Place 2")
    panel.locator(".token-choice").nth(2).click()
    expect(panel.locator(".token-choice").nth(2)).to_have_attribute("aria-pressed", "true")
    word = panel.locator(".token-choice .token-name").nth(2).text_content().replace("␣", " ")
    start = panel.locator(".token-view .token").first.text_content() + word
    panel.get_by_role("button", name="Continue from here").click()
    expect(page.locator(".branch-number")).to_have_text("2/2")
    after = answers(page).last.text_content()
    assert after.startswith(start)
    assert after != before
    (conversation,) = store.list(limit=5)
    assert store.get(conversation.id).messages[-1].message.content == after
    expect(page.locator("#token-panel .token-heading")).to_contain_text("Place 2")  # of the new answer
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Previous version").click()
    expect(answers(page).last).to_have_text(before)


def test_a_link_opens_the_place_and_the_path_in_another_tab(chat_page, visit):
    page = chat_page()
    panel = open_panel(page)
    page.keyboard.press("ArrowRight")
    expect(panel.locator(".token-heading")).to_contain_text("Place 2")
    panel.locator(".token-choice").nth(1).click()
    expect(panel.locator(".token-choice").nth(1)).to_have_attribute("aria-pressed", "true")
    panel.get_by_role("button", name="Look one word further").click()
    expect(panel.locator(".token-heading")).to_contain_text("Place 3")
    heading, choices = panel.locator(".token-heading").text_content(), panel.locator(".token-name").all_text_contents()
    assert len(place(page)[2][0].split(",")) == 2
    split = urlsplit(page.url)
    other = visit(f"{split.path}#{split.fragment}")
    expect(other.locator("#token-panel .token-heading")).to_have_text(heading)
    assert other.locator("#token-panel .token-name").all_text_contents() == choices


@pytest.mark.parametrize(
    "fragment", ["?message=x&at=-1", "?message=x&at=1e400", "?message=&at=0", "?message=none&ids=a,b"]
)
def test_a_link_to_no_place_opens_the_conversation_only(chat_page, visit, fragment):
    page = chat_page()
    other = visit(f"/#{urlsplit(page.url).fragment.partition('?')[0]}{fragment}")
    expect(answers(other)).to_have_count(1)
    expect(other.locator("#token-panel")).to_have_count(0)


SLIDERS = [
    {"temperature": 1.4}, {"temperature": 0.35}, {"temperature": 0}, {"top_k": 3}, {"top_k": 1}, {"top_p": 0.5},
    {"top_p": 0}, {"min_p": 0.1}, {"temperature": 0.5, "top_k": 20, "top_p": 0.8, "min_p": 0.05},
]  # fmt: skip


def test_the_sliders_redraw_what_the_server_computes(chat_page, server_url):
    """The redrawn bars at other values equal the distribution of the server at these values."""
    page = chat_page()
    body = {"model": "scripted", "messages": [{"role": "user", "content": QUESTION}], "top": 50}
    neutral = {"temperature": 1, "top_p": 1, "repetition_penalty": 1.2}
    base = httpx.post(f"{server_url}/v1/next_token", json=body | neutral).json()
    ids = [token["id"] for token in base["tokens"]]
    values = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0}
    script = """async ([distribution, values]) => {
      const { baseOf, redraw } = await import("/assets/token_math.js");
      return redraw(baseOf(distribution), values);
    }"""
    for changes in SLIDERS:
        drawn = page.evaluate(script, [base, values | changes])
        exact = httpx.post(f"{server_url}/v1/next_token", json=body | neutral | changes | {"token_ids": ids}).json()
        final = {token["id"]: (token["probabilities"][-1], token["removed_by"]) for token in exact["tokens"]}
        tolerance = 1e-4 if drawn["isExact"] else 0.03
        for id, probability, stage in zip(ids, drawn["probabilities"], drawn["removedBy"], strict=True):
            assert probability == pytest.approx(final[id][0], abs=tolerance), (changes, id)
            if drawn["isExact"]:
                assert stage == final[id][1], (changes, id)


def test_a_slider_sends_no_request_and_says_how_exact_it_is(chat_page):
    page = chat_page()
    panel = open_panel(page)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.locator("#token-slider-temperature").fill("1")
    expect(panel.get_by_text("Computed in this page")).to_be_visible()
    figures = panel.locator(".token-figures").first.text_content()
    page.locator("#token-slider-temperature").fill("2")
    expect(panel.locator(".token-figures").first).not_to_have_text(figures)
    panel.get_by_role("button", name="Back to the values of the answer").click()
    expect(panel.locator(".token-figures").first).to_contain_text("100 %")
    assert requests == []


def test_the_tree_shows_the_beams_of_the_server_and_works_with_the_keyboard(chat_page):
    page = chat_page()
    panel = open_panel(page)
    panel.get_by_label("Beams", exact=True).fill("3")
    with page.expect_response("**/v1/chat/completions") as response:
        panel.get_by_role("button", name="Show the beams").click()
    beams = json.loads(response.value.text())["beams"]
    items = panel.locator("[role=treeitem]")
    expect(items).to_have_count(len(beams["nodes"]))
    assert panel.locator(".beam-answers li").count() == 3
    for node, level in zip(
        sorted(node["step"] for node in beams["nodes"]),
        sorted(int(item.get_attribute("aria-level")) for item in items.all()),
        strict=True,
    ):
        assert node == level
    panel.locator("[role=treeitem][tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("document.activeElement.getAttribute('aria-level')")
    assert focused == "3"
    page.keyboard.press("Enter")
    expect(panel.locator("[role=treeitem][aria-selected=true]")).to_have_count(1)
    expect(panel.locator(".token-heading")).to_contain_text("Place 3")
    assert len(place(page)[2][0].split(",")) == 3


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1300])
def test_the_panel_is_accessible_in_both_themes_and_on_narrow_screens(chat_page, theme, width):
    page = chat_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    panel = open_panel(page)
    page.locator("#token-slider-top_k").fill("3")
    panel.get_by_text("As a table").click()
    panel.get_by_role("button", name="Show the beams").click()
    expect(panel.locator(".beam-tree")).to_be_visible()
    assert violations(page, "#token-panel") == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth")


def test_every_text_of_the_panel_has_a_chinese_translation(chat_page):
    page = chat_page(locale="zh-CN")
    page.get_by_role("button", name="为什么是这些词？").click()
    panel = page.locator("#token-panel")
    expect(panel.locator(".token-choice").first).to_be_visible()
    expect(panel.locator(".answer-origin dt").first).to_have_text("模型")
    translations = "".join(path.read_text(encoding="utf-8") for path in WEB.glob("texts_zh*.js"))
    for name in (
        "token_panel",
        "token_view",
        "token_bars",
        "token_sliders",
        "beam_tree",
        "answer_origin",
        "attention_view",
    ):
        source = (WEB / f"{name}.js").read_text(encoding="utf-8")
        for text in re.findall(r'\bt\("((?:[^"\\]|\\.)*)"', source):
            assert f'"{text}":' in translations, text


def test_an_error_of_the_server_is_shown(chat_page):
    page = chat_page()
    page.route(
        "**/v1/answer_tokens", lambda route: route.fulfill(status=400, json={"error": {"message": "No tokens."}})
    )
    page.get_by_role("button", name="Why these words?").click()
    expect(page.locator("#banner, .banner").first).to_contain_text("No tokens.")
    expect(page.locator("#token-panel")).to_have_count(0)


def test_a_panel_that_is_closed_while_it_loads_does_not_appear(chat_page):
    page = chat_page()
    held = []
    page.route("**/assets/token_panel.css", lambda route: held.append(route))
    page.get_by_role("button", name="Why these words?").click()
    expect(page.locator("#token-styles")).to_have_count(1)
    page.keyboard.press("Alt+KeyW")
    held[0].continue_()
    page.wait_for_timeout(200)
    expect(page.locator("#token-panel")).to_have_count(0)
    open_panel(page)


def test_a_style_sheet_that_fails_is_reported_and_loaded_again(chat_page):
    page = chat_page()
    page.route("**/assets/token_panel.css", lambda route: route.abort())
    page.get_by_role("button", name="Why these words?").click()
    expect(page.locator("#banner")).to_contain_text("The server does not answer")
    page.unroute_all()
    page.click("#banner-retry")
    expect(page.locator("#token-panel .token-choice").first).to_be_visible()


def test_another_branch_closes_the_panel(chat_page):
    page = chat_page()
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".branch-number")).to_have_text("2/2")
    open_panel(page)
    page.get_by_role("button", name="Previous version").click()
    expect(page.locator(".branch-number")).to_have_text("1/2")
    expect(page.locator("#token-panel")).to_have_count(0)


def test_an_answer_does_not_continue_while_another_one_is_generated(chat_page, services, store):
    page = chat_page()
    panel = open_panel(page)
    services["scripted"] = ScriptedChatService(endless, store=store, delay=0.05)
    send(page, "another question")
    expect(page.locator("#stop")).to_be_visible()
    panel.get_by_role("button", name="Continue from here").click()
    expect(panel).to_be_visible()
    page.click("#stop")
    expect(page.locator("#send")).to_be_visible()
    expect(page.locator(".branch-number")).to_have_count(0)
