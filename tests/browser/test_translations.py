"""The pages in Chinese: no view shows an English text."""

import json
import re

import pytest
from page_actions import answers, endless, send
from playwright.sync_api import expect

from turnwise.server.routes.pages import WEB

# Names that are the same in Chinese: of products, keys, parameters and formats.
NAMES = re.compile(
    r'{"type": "json_object"}|scripted|Turnwise|API|JSON|Alt|Ctrl|Shift|Enter|Esc|English|Top [kpn]|Min p|Typical p'
    r"|[Ee]psilon|[Ee]ta|[Ss]igma|Logit|Lark|schema|alpha|top_k|prompt|messages|curl|Python|JavaScript"
    r"|Markdown|Control Z|UTC|chrF|Cohen's kappa|turnwise [-A-Za-z:. ]+"
)
# Texts of people and models, and code, are not translated.
VISIBLE_TEXTS = """() => {
    const texts = [document.title];
    const isShown = (element) => element.checkVisibility({ visibilityProperty: true }) || element.closest("#status");
    const isForeign = (element) => element.closest(".body, code, pre, kbd, textarea, .turn-prompt, .column-title, .history-open, #title, [lang=en]");
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!element.closest("script, style, noscript") && isShown(element) && !isForeign(element)) texts.push(node.nodeValue);
    }
    for (const element of document.querySelectorAll("*")) {
        if (!isShown(element) || element.closest(".history-row")) continue;
        for (const name of ["aria-label", "placeholder", "alt"]) if (element.hasAttribute(name)) texts.push(element.getAttribute(name));
    }
    return texts;
}"""  # noqa: E501


def english_texts(page):
    texts = (NAMES.sub("", text) for text in page.evaluate(VISIBLE_TEXTS))
    return [text.strip() for text in texts if re.search("[A-Za-z]{2,}", text)]


@pytest.fixture
def page(visit, script_answers):
    script_answers(["好的，", "没问题。"])
    return visit(locale="zh-CN")


def exchange(page):
    send(page, "你好")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()


def test_the_language_of_the_browser_is_that_of_the_page(page):
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    expect(page.locator("#prompt")).to_have_attribute("placeholder", "输入消息")
    expect(page.locator("html")).not_to_have_class(re.compile("translating"))
    assert english_texts(page) == []


def test_the_chosen_language_is_kept_for_all_pages(page):
    page.get_by_role("button", name="English").click()
    expect(page.locator("#prompt")).to_have_attribute("placeholder", "Write a message")
    page.get_by_role("link", name="Playground").click()
    page.wait_for_selector("body.playground[data-ready]")
    expect(page.locator("h1")).to_have_text("Playground")
    page.keyboard.press("Control+k")
    page.locator("#palette-input").fill("中文")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("lang", "zh")


def test_the_page_is_invisible_until_it_is_translated(visit, server_url):
    page = visit("/health", ready=False, locale="zh-CN")
    page.route("**/texts_zh.js", lambda route: None)  # never answered
    page.goto(server_url + "/", wait_until="commit")
    page.wait_for_selector("#prompt")
    assert page.evaluate("getComputedStyle(document.body).opacity") == "0"
    expect(page.locator("html")).not_to_have_class(
        re.compile("translating"), timeout=5000
    )  # English rather than nothing


def test_every_view_of_the_chat_is_translated(page, script_answers):
    page.click("#open-controls")
    expect(page.locator(".control-group > summary").first).to_be_visible()
    for summary in page.locator(".control-group > summary").all():
        summary.click()
    page.locator(".token-rows + button").click()
    page.fill("#control-response_format", "[]")
    page.fill("#control-stop_token_ids", "x")
    assert english_texts(page) == []
    page.select_option("#control-preset", index=1)
    page.locator(".preset-buttons button").first.click()
    assert english_texts(page) == []
    page.keyboard.press("Escape")
    page.click("#close-controls")

    exchange(page)
    assert english_texts(page) == []
    page.get_by_role("button", name="回答不好").click()
    expect(page.locator(".feedback-tags")).to_be_visible()
    assert english_texts(page) == []
    page.get_by_role("button", name="应该这样回答…").click()
    assert english_texts(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="以代码显示请求").click()
    expect(page.locator("#code")).to_be_visible()
    assert english_texts(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    assert english_texts(page) == []
    page.locator("#palette-input").fill("zzz")
    assert english_texts(page) == []
    page.keyboard.press("Escape")
    page.focus("#theme")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    assert english_texts(page) == []
    page.keyboard.press("Escape")

    script_answers(endless, delay=0.05)
    send(page, "继续")
    expect(page.locator(".growing .body")).to_contain_text("word")
    page.click("#stop")
    expect(page.locator(".figures").last).to_have_text("已停止")
    assert english_texts(page) == []
    page.route("**/v1/**", lambda route: route.abort())
    send(page, "再来")
    expect(page.locator("#banner")).to_be_visible()
    assert english_texts(page) == []


def test_every_view_of_the_list_of_conversations_is_translated(page, store):
    exchange(page)
    store.folders.create("工作")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    page.click("#history-menu")
    assert english_texts(page) == []
    page.get_by_role("menuitem", name="新建文件夹").click()
    expect(page.locator("#folder-name")).to_be_visible()
    assert english_texts(page) == []
    page.keyboard.press("Escape")
    page.locator(".folder-menu").click()
    expect(page.get_by_role("menu")).to_be_visible()
    assert english_texts(page) == []
    page.keyboard.press("Escape")
    page.locator(".history-row .icon-button").click()
    expect(page.get_by_role("menu")).to_be_visible()
    assert english_texts(page) == []
    page.get_by_role("menuitem", name="选择").click()
    expect(page.locator(".selection-bar")).to_be_visible()
    assert english_texts(page) == []
    page.keyboard.press("Escape")
    page.fill("#history-search", "你好")
    expect(page.locator(".history-match")).to_be_visible()
    assert english_texts(page) == []
    page.fill("#history-search", "")
    page.click("#open-tree")
    expect(page.get_by_role("treeitem")).to_have_count(2)
    assert english_texts(page) == []
    page.keyboard.press("Escape")
    page.locator(".message.last").get_by_label("从这里开始新对话").click()
    expect(page.locator(".history-row")).to_have_count(2)
    assert english_texts(page) == []
    page.locator(".history-row .icon-button").first.click()
    page.get_by_role("menuitem", name="删除").click()
    expect(page.locator(".undo")).to_be_visible()
    assert english_texts(page) == []


def test_the_choice_between_several_answers_is_translated(page):
    page.click("#open-controls")
    page.fill("#control-n", "2")
    page.click("#close-controls")
    send(page, "你好")
    expect(page.locator(".choose-button")).to_have_count(2)
    assert english_texts(page) == []


def test_the_playground_is_translated(page, server_url):
    page.goto(server_url + "/playground")
    page.wait_for_selector("body[data-ready]")
    for summary in page.locator("summary").all():
        if summary.is_visible():
            summary.click()
    page.check("#blind")
    assert english_texts(page) == []
    page.fill("#playground-text", "你好")
    page.press("#playground-text", "Enter")
    expect(page.locator("#verdict")).to_be_visible()
    assert english_texts(page) == []
    page.locator("[data-verdict=equal]").click()
    expect(page.locator("#verdict-result")).to_have_text("相当。")
    page.fill("#prompts-text", '{"x": 1}')
    page.locator("#prompts-form [type=submit]").click()
    expect(page.locator("#prompts-problem")).not_to_be_empty()
    assert english_texts(page) == []


def test_every_text_of_the_modules_has_a_translation(page):
    translations = page.evaluate("import('/assets/texts_zh.js').then((module) => Object.keys(module.default))")
    modules = {path.name: path.read_text(encoding="utf-8") for path in WEB.glob("*.js")}
    keys = {
        json.loads(f'"{text}"')
        for source in modules.values()
        for text in re.findall(r'\b(?:t\(|pluralize\([^"]*"[^"]*",)\s*"((?:[^"\\\\]|\\\\.)*)"', source)
    }
    assert len(keys) > 100
    assert keys - set(translations) == set()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_text_that_is_a_property_of_objects_is_only_a_text(visit, locale):
    page = visit(locale=locale)
    assert page.evaluate("import('/assets/i18n.js').then(({ t }) => t('constructor') + t('__proto__'))") == (
        "constructor__proto__"
    )
