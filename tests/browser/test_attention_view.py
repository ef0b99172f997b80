"""The tab "Attention" of the panel "Why these words?", with a real model."""

import json

import httpx
import pytest
from accessibility import violations
from page_actions import answers, send
from playwright.sync_api import expect

from turnwise.app.chat_services import open_chat_service

QUESTION = "Where is my parcel?"


@pytest.fixture(scope="module")
def model():
    with open_chat_service("box", max_num_seqs=8) as service:
        yield service


@pytest.fixture
def panel(services, script_answers, store, model, visit):
    """Open the page with one answered question, and the panel at its third word."""
    from dataclasses import replace

    def open_panel(**settings):
        services["scripted"] = replace(model, name="scripted", store=store)
        page = visit(**settings)
        stored = json.dumps({"parameters": {"temperature": 0, "max_tokens": 8}})
        page.evaluate("text => localStorage.setItem('turnwise.settings.new', text)", stored)
        page.reload()
        page.wait_for_selector("body[data-ready]")
        send(page, QUESTION)
        expect(answers(page)).to_have_count(1)
        expect(page.locator("#send")).to_be_visible()
        page.keyboard.press("Alt+KeyW")
        expect(page.locator("#token-panel .token-choice").first).to_be_visible()
        return page.locator("#token-panel")

    return open_panel


def open_tab(panel):
    with panel.page.expect_response("**/v1/attention") as response:
        panel.get_by_role("tab").last.click()
    expect(panel.locator("#attention-layer")).to_be_visible()
    return json.loads(response.value.text())


def strongest(panel):
    return [entry.split(", token ")[0] for entry in panel.locator(".attention-list .token-figures").all_text_contents()]


def percent(weight):
    return f"{weight * 100:.1f} %" if weight >= 0.01 else f"{weight * 100:.2f} %"


def test_the_tab_shows_the_context_and_the_strongest_weights_of_the_server(panel, server_url):
    opened = panel()
    attention = open_tab(opened)
    text = "".join(opened.get_by_role("group", name="Text of the context").locator(".token").all_text_contents())
    assert QUESTION in text
    weights = sorted((token["weight"] for token in attention["tokens"]), reverse=True)
    assert strongest(opened) == [percent(weight) for weight in weights[:10]]
    assert opened.locator(".token.read-4").count() >= 1
    options = opened.locator("#attention-head option").all_text_contents()
    assert options == ["Mean of all heads", *map(str, range(attention["num_heads"]))]
    expect(opened.locator("#attention-layer")).to_have_value(str(attention["num_layers"] - 1))


def test_another_layer_head_and_place_show_their_own_weights(panel):
    opened = panel()
    page = opened.page
    open_tab(opened)
    requests = []
    page.on("request", lambda request: "/v1/attention" in request.url and requests.append(request.post_data_json))
    opened.locator("#attention-head").select_option("1")
    expect(opened.locator(".attention-list li").first).to_be_visible()
    opened.locator("#attention-layer").fill("0")
    expect(opened.locator("output[for=attention-layer]")).to_have_text("0")
    opened.locator(".token-view [role=option]").nth(2).click()
    expect(opened.locator(".token-heading")).to_contain_text("Place 3")
    page.wait_for_function("() => !document.querySelector('#token-panel [role=status]').textContent")
    page.wait_for_timeout(300)
    assert [(entry["layer"], entry["head"]) for entry in requests][-1] == (0, 1)
    assert len(requests[-1]["answer_tokens"]) == 2
    expected = httpx.post(page.url.split("/#")[0] + "/v1/attention", json=requests[-1]).json()
    weights = sorted((token["weight"] for token in expected["tokens"]), reverse=True)
    assert strongest(opened) == [percent(weight) for weight in weights[:10] if weight]


def test_the_first_token_can_be_left_out_without_a_request(panel):
    opened = panel()
    attention = open_tab(opened)
    requests = []
    opened.page.on("request", lambda request: requests.append(request.url))
    first = attention["tokens"][0]
    opened.get_by_label(f"the attention sink: {percent(first['weight'])}").check()
    weights = sorted((token["weight"] for token in attention["tokens"][1:]), reverse=True)
    assert strongest(opened) == [percent(weight) for weight in weights[:10]]
    assert requests == []


def test_tabs_and_list_work_with_the_keyboard(panel):
    opened = panel()
    page = opened.page
    opened.get_by_role("tab", name="Alternatives").focus()
    page.keyboard.press("ArrowRight")
    expect(opened.get_by_role("tab", name="Attention")).to_be_focused()
    expect(opened.locator("#attention-layer")).to_be_visible()
    expect(opened.locator(".token-bars")).to_be_hidden()
    opened.locator(".attention-list button").first.focus()
    page.keyboard.press("Enter")
    expect(opened.locator(".token.is-marked")).to_have_count(1)
    opened.get_by_role("tab", name="Attention").focus()
    page.keyboard.press("ArrowLeft")
    expect(opened.locator(".token-bars")).to_be_visible()


def test_a_model_without_attention_says_so(panel):
    opened = panel()
    message = "The attention of this model cannot be shown."
    opened.page.route("**/v1/attention", lambda route: route.fulfill(status=400, json={"error": {"message": message}}))
    opened.get_by_role("tab", name="Attention").click()
    expect(opened.get_by_text(message)).to_be_visible()
    expect(opened.locator("#attention-layer")).to_be_hidden()


def test_an_error_of_a_place_is_shown_beside_both_tabs(panel):
    opened = panel()
    open_tab(opened)
    opened.page.route(
        "**/v1/next_token", lambda route: route.fulfill(status=500, json={"error": {"message": "Broken."}})
    )
    opened.locator(".token-view [role=option]").nth(2).click()
    expect(opened.get_by_role("alert")).to_have_text("Broken.")
    opened.get_by_role("tab").first.click()
    expect(opened.get_by_role("alert")).to_have_text("Broken.")
    opened.page.unroute("**/v1/next_token")
    opened.locator(".token-view [role=option]").nth(1).click()
    expect(opened.locator(".token-choice").first).to_be_visible()
    expect(opened.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1300])
def test_the_tab_is_accessible_in_both_themes_and_on_narrow_screens(panel, theme, width):
    opened = panel(viewport={"width": width, "height": 900}, color_scheme=theme)
    open_tab(opened)
    assert violations(opened.page, "#token-panel") == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.evaluate("panel => panel.scrollWidth <= panel.clientWidth")
