"""Rendering of the chat page: escaping, Markdown, small screens, dark mode, screen readers."""

import pytest
from page_actions import answers, endless, send
from playwright.sync_api import expect

from turnwise.core.messages import Message

HOSTILE = (
    "<img src=x onerror=\"document.title='hacked'\"> <script>document.title='hacked'</script>\n\n"
    "[click](javascript:document.title='hacked') [data](data:text/html,x) **<b>bold</b>** `<i>code</i>`\n\n"
    "```html\n<img src=x onerror=alert(1)>\n```\n- <svg onload=alert(1)>\n> <iframe src=/></iframe>\n# <u>head</u>"
)


def test_the_page_fits_a_phone_screen(visit, script_answers):
    script_answers(["A long ", "unbroken" * 40, "\n\n```\n" + "code " * 60 + "\n```"])
    page = visit(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    expect(page.locator("#sidebar")).to_be_hidden()
    page.fill("#prompt", "Does it fit? " + "x" * 200)
    page.click("#send")
    expect(answers(page)).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in ("#send", "#open-sidebar", "#open-controls"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 640
    page.tap("#open-sidebar")
    expect(page.locator("#sidebar")).to_be_visible()
    expect(page.locator(".history-open")).to_have_count(1)
    page.touchscreen.tap(350, 300)
    expect(page.locator("#sidebar")).to_be_hidden()
    page.tap("#open-sidebar")
    page.wait_for_timeout(300)
    page.tap("#new-chat")
    expect(page.locator("#sidebar")).to_be_hidden()
    expect(page.locator("#empty")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_mode_follows_the_system_and_a_choice_is_stored(visit):
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert background(light) == "rgb(250, 249, 246)"
    assert background(dark) == "rgb(23, 25, 28)"
    dark.click("#theme")
    assert background(dark) == "rgb(250, 249, 246)"
    dark.reload()
    assert background(dark) == "rgb(250, 249, 246)"
    dark.click("#theme")
    assert background(dark) == "rgb(23, 25, 28)"


def test_reduced_motion_is_respected(visit, script_answers):
    script_answers(endless, delay=0.1)
    page = visit(reduced_motion="reduce")
    send(page, "go")
    expect(page.locator(".message.growing .body")).to_contain_text("word")
    names = page.evaluate("[...document.querySelectorAll('*')].map(e => getComputedStyle(e, '::after').animationName)")
    assert set(names) == {"none"}
    page.keyboard.press("Escape")


@pytest.mark.parametrize("by", ["the model", "the person", "the store"])
def test_html_in_messages_is_shown_as_text(visit, script_answers, store, by):
    script_answers([HOSTILE[i : i + 7] for i in range(0, len(HOSTILE), 7)] if by == "the model" else ["ok"])
    if by == "the store":
        id = store.create(title=HOSTILE[:150], model="scripted").id
        store.append(id, [Message("user", HOSTILE), Message("assistant", HOSTILE), Message("system", HOSTILE)])
        page = visit(f"/#{id}")
    else:
        page = visit()
        send(page, HOSTILE if by == "the person" else "hi")
    expect(answers(page)).to_have_count(1)
    page.wait_for_timeout(200)
    thread = page.locator("#thread")
    assert thread.locator("img, script, iframe, svg:not(.icon), b, i, u").count() == 0
    assert thread.locator("a").count() == 0, "neither javascript: nor data: becomes a link"
    assert "hacked" not in page.title().split("<")[0]
    expect(thread).to_contain_text("<img src=x onerror=")
    assert page.locator("#history img, #title img").count() == 0


def test_markdown_is_rendered(visit, script_answers):
    script_answers([
        "# Title\nA **bold** and *slanted* `a*b*` word,\nsecond line. See [the site](https://example.org/a) "
        "or https://example.org/b?c=d.\n\n1. one\n2. two\n   - inner\n   - more\n\n- dash\n\n> said\n\n---\n"
        "```python\nprint('**not bold**')\n\n```\nsnake_case_name stays"
    ])  # fmt: skip
    page = visit()
    send(page, "show")
    body = answers(page)
    expect(body.locator("h2")).to_have_text("Title")
    expect(body.locator("strong")).to_have_text("bold")
    expect(body.locator("em").first).to_have_text("slanted")
    expect(body.locator("p code")).to_have_text("a*b*")
    expect(body.locator("br")).to_have_count(1)
    links = body.locator("a").evaluate_all("all => all.map(a => [a.href, a.rel, a.target])")
    assert links == [[f"https://example.org/{end}", "noopener noreferrer nofollow", "_blank"] for end in ("a", "b?c=d")]
    expect(body.locator("ol > li")).to_have_count(2)
    expect(body.locator("ol ul > li")).to_have_text(["inner", "more"])
    expect(body.locator(".answer-text > ul > li")).to_have_text("dash")
    expect(body.locator("blockquote")).to_have_text("said")
    expect(body.locator("hr")).to_have_count(1)
    assert body.locator("pre").text_content() == "print('**not bold**')\n"
    expect(body.locator(".answer-text > p").last).to_contain_text("snake_case_name stays")
    assert "snake_case_name" in body.locator(".answer-text > p").last.inner_text()


def test_copy_copies_the_markdown_source(visit, script_answers):
    script_answers(["**bold**\n\n```\ncode()\n```"])
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    page.locator(".message.last").get_by_label("Copy", exact=True).click()
    assert page.evaluate("navigator.clipboard.readText()") == "**bold**\n\n```\ncode()\n```"
    page.get_by_label("Copy the code").click()
    page.wait_for_timeout(100)
    assert page.evaluate("navigator.clipboard.readText()") == "code()"


def test_scrolling_up_stops_automatic_scrolling(visit, script_answers):
    script_answers(lambda turn: (f"line {i}\n\n" for i in range(10_000)), delay=0.01)
    page = visit()
    send(page, "go")
    scroller = page.locator("#scroller")
    expect(page.locator(".message.growing")).to_contain_text("line 60")
    assert scroller.evaluate("e => e.scrollHeight - e.scrollTop - e.clientHeight") < 80, "it follows"
    scroller.hover()
    page.mouse.wheel(0, -900)
    page.wait_for_timeout(200)
    there = scroller.evaluate("e => e.scrollTop")
    page.wait_for_timeout(500)
    assert scroller.evaluate("e => e.scrollTop") == there, "the reader is left alone"
    page.click("#to-end")
    page.wait_for_timeout(300)
    assert scroller.evaluate("e => e.scrollHeight - e.scrollTop - e.clientHeight") < 80
    page.keyboard.press("Escape")


def test_a_complete_answer_is_announced_to_screen_readers(visit, script_answers):
    script_answers(["One ", "two."], delay=0.2)
    page = visit()
    send(page, "hi")
    growing = page.locator(".message.growing .body")
    expect(growing).to_have_attribute("aria-busy", "true")
    expect(growing).to_have_attribute("aria-live", "polite")
    expect(answers(page)).to_have_attribute("aria-busy", "false")
    expect(page.locator("#status")).to_have_text("The answer is complete.")
    expect(answers(page)).to_have_attribute("aria-busy", "false")  # also after the ids of the store have arrived
