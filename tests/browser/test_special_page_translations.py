"""The pages for special tasks in Chinese: no view shows an English text of ours.

Sentences of the server and of the OpenAPI document are in English, and marked as such.
"""

import re

import httpx
import pytest
from page_samples import serve_all_pages
from playwright.sync_api import expect
from test_translations import NAMES, english_texts


@pytest.fixture
def server_url(tmp_path):
    with serve_all_pages(tmp_path) as url:
        yield url


@pytest.fixture
def script_answers():
    """These tests have no chat."""


@pytest.fixture
def open_page(visit):
    """Open a page in Chinese, check its title, and that it has no English text but for matches of `foreign`."""

    def open_translated(path, title, foreign="(?!)"):
        page = visit(path, locale="zh-CN")
        page.set_default_timeout(30_000)
        expect(page).to_have_title(f"{title} – Turnwise")
        expect(page.locator("#language")).to_have_text("En")
        page.english_texts = lambda: remaining_texts(page, foreign)
        assert page.english_texts() == []
        return page

    return open_translated


def remaining_texts(page, foreign):
    titles = page.locator("[title]").evaluate_all("elements => elements.map(({ title }) => title)")
    texts = [*english_texts(page), *(NAMES.sub("", title) for title in titles)]
    return [text for text in texts if re.search("[A-Za-z]{2,}", re.sub(foreign, "", text))]


def test_classification(open_page):
    page = open_page("/classify", "分类")

    def shows(model, text, result):
        page.select_option("#classify-model", model)
        page.fill("#classify-text", text)
        page.click("#classify-send")
        expect(page.locator("#classify-result")).to_contain_text(result)
        assert page.english_texts() == []

    shows("情绪", "你好", "75.0 %")
    shows("情绪", "很长很长的文本", "分类器认为此文本不属于任何标签")
    shows("人名", "我是小明。", "人名")
    expect(page.locator("mark")).to_have_attribute("title", "人名 · 50.0 %")
    shows("人名", "你好", "标注器没有找到任何内容。")
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": []}))
    page.reload()
    expect(page.locator("#banner-text")).to_have_text(
        "此服务器没有分类器。启动命令：turnwise serve --classifier FOLDER"
    )
    assert page.english_texts() == []


def test_the_monitor(open_page):
    page = open_page("/monitor", "(2) 文本监测", foreign="bearish")  # a label of the classifier

    expect(page.locator("#alerts-title")).to_have_text("警报，2 个未结束")
    for head in page.locator(".alert-head").all():
        head.click()
        expect(page.locator(".alert-detail:visible .alert-text")).to_have_count(6)
        assert page.english_texts() == []
    expect(page.locator(".alert-detail:visible .alert-summary")).to_have_attribute("lang", "en")
    page.locator(".topic summary").first.click()
    expect(page.locator(".topic thead").first).to_contain_text("文本数（不计副本）")
    expect(page.get_by_role("img", name="台灯 的趋势：不计副本共 8 个文本")).to_be_visible()
    assert page.english_texts() == []
    page.select_option("#monitor-period", "6 小时")
    page.route("**/v1/monitor/**", lambda route: route.abort())
    page.select_option("#monitor-period", "7 天")
    expect(page.locator("#banner-text")).to_have_text(
        "服务器没有响应。它还在运行吗？ 本页显示先前读取的内容，并会重试。"
    )
    assert page.english_texts() == []


def test_an_empty_monitor(visit):
    page = visit("/health", ready=False, locale="zh-CN")
    trends = {"data": [], "starts": [], "newest_window": None}
    page.route("**/v1/monitor/trends?*", lambda route: route.fulfill(json=trends))
    page.route("**/v1/monitor/alerts?*", lambda route: route.fulfill(json={"data": [], "has_more": False}))
    page.goto(page.url.replace("/health", "/monitor"))
    expect(page.locator("#monitor-empty")).to_contain_text("还没有计数。启动监测：turnwise monitor run")
    assert english_texts(page) == []


def test_hand_offs(open_page):
    page = open_page("/handoffs", "(1) 人工接手")
    expect(page.locator(".queue-entry .handoff-note")).to_contain_text("等待中 · ")
    page.locator(".queue-entry a").click()
    expect(page.locator("#handoff-state")).to_have_text("等待中 · 没有答案 · 中文")
    assert page.english_texts() == []
    page.get_by_role("button", name="接手").click()
    expect(page.locator("#banner-text")).to_have_text("请先输入你的名字，客户会看到它。")
    page.get_by_label("你的名字").fill("小刚")
    page.get_by_role("button", name="接手").click()
    expect(page.locator(".queue-entry .handoff-note")).to_contain_text("人工处理中（小刚） · ")
    expect(page.locator(".handoff-author")).to_have_text(["客户", "助手"])
    assert page.english_texts() == []
    page.get_by_role("button", name="交还给助手").click()
    expect(page.locator("#handoff-state")).to_contain_text("已交还")
    expect(page.locator("#status")).to_have_text("助手重新开始回答。")
    expect(page.locator("#queue-empty")).to_be_visible()
    assert page.english_texts() == []


def test_the_review(open_page):
    page = open_page(
        "/review", "审核", foreign="local/user:|constructor"
    )  # the prefix of a reviewer, and a tag of a client
    expect(page.locator("#agreement tbody th")).to_have_text(re.compile("小. 与 .*小."))
    expect(page.locator("#review-reason")).to_have_text("有人不喜欢这个回答")
    expect(page.locator("#review-facts")).to_contain_text("好 0，差 1 · 太长、错误、constructor · 平均对数概率 -2.00")
    expect(page.locator("#review-history")).to_contain_text("用户：")
    expect(page.locator("#review-better")).to_have_text("建议改为：不好。")
    page.keyboard.press("c")
    expect(page.locator("#review-correction-form")).to_be_visible()
    assert page.english_texts() == []
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    expect(page.locator("#review-progress")).to_have_text("已审核 1 个")
    assert page.english_texts() == []
    page.keyboard.press("s")
    page.keyboard.press("s")
    expect(page.locator("#review-empty")).to_be_visible()
    assert page.english_texts() == []


def test_the_loop(open_page):
    page = open_page("/improve", "改进")
    cycles = page.locator(".improve-cycles .improve-entry")
    expect(cycles.locator("b")).to_have_text(["第 3 轮", "第 2 轮", "第 1 轮"])
    expect(cycles.locator(".badge")).to_have_text(["中断于：回放", "被拒绝", "已上线"])
    expect(cycles.last).to_contain_text(
        "14 个回答（12 个新的） · 来自 4 人的 10 个样本 · 剔除：重复 2 · 遮盖：电子邮箱 1"
    )
    expect(page.locator(".improve-versions .badge")).to_have_text(["灰度", "候选", "服务中", "已停用"])
    expect(page.locator(".improve-now")).to_have_text(
        "上次训练以来有 3 个回答带反馈。上一轮已中断，turnwise improve 会继续。"
    )
    page.locator(".improve-figures summary").click()
    expect(page.locator(".improve-figures thead")).to_contain_text("服务中的版本")
    expect(page.get_by_role("img", name="新版本的chrF，共 2 轮：最近一轮为 31")).to_be_visible()
    assert page.english_texts() == []
    page.get_by_label("scripted 第 1 轮的报告").click()
    expect(page.get_by_role("button", name="关闭报告")).to_be_visible()
    assert page.english_texts() == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="回退").click()
    expect(page.locator("#rollback")).to_contain_text("原因（记入历史）")
    assert page.english_texts() == []
    page.keyboard.press("Escape")
    page.locator(".improve-entry").filter(has_text="scripted@3").get_by_role("button", name="上线").click()
    expect(page.locator("#promote .error")).to_have_text("它没有通过门槛：新版本更差。")
    assert page.english_texts() == []


def test_the_api(open_page, server_url):
    document = httpx.get(f"{server_url}/openapi.json").json()
    names = (NAMES.sub("", name) for name in document["components"]["schemas"])  # as in `english_texts`
    schemas = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    types = "null|true|false|string|integer|number|boolean|object|array|[a-z]+/[-a-z+]+"  # of JSON, and media types
    page = open_page("/docs", "API", foreign=rf'"[^"]*"|\b[A-Z]+\b|/openapi.json|{schemas}|{types}')
    for summary in page.locator(".operation > summary").all():
        summary.click()
    expect(page.locator(".fields").first.locator("th")).to_have_text(["字段", "类型", "含义"])
    expect(page.locator("#docs-operations")).to_contain_text("（必填）")
    assert page.english_texts() == []
