"""Answers on the page: tables, code, formulas, reasoning, footnotes, links, images, direction of writing."""

import pytest
from accessibility import violations
from page_actions import answers, send
from playwright.sync_api import expect


@pytest.fixture
def show(visit, script_answers):
    """Show an answer on the chat page and return its body."""

    def show_answer(text, **settings):
        script_answers([text[at : at + 9] for at in range(0, len(text), 9)])
        page = visit(**settings)
        send(page, "show")
        expect(answers(page)).to_have_count(1)
        return answers(page)

    return show_answer


def test_a_table_has_headers_and_alignment_and_scrolls_sideways(show):
    columns = "| name | count |" + " column |" * 12
    body = show(f"{columns}\n| :--- | ---: |{' --- |' * 12}\n| apples | **12** |{' unbreakable_text |' * 12}",
                viewport={"width": 320, "height": 640})  # fmt: skip
    headers = body.locator("thead th").evaluate_all("all => all.slice(0, 2).map((e) => [e.scope, e.textContent])")
    assert headers == [["col", "name"], ["col", "count"]]
    expect(body.locator("td strong")).to_have_text("12")
    assert body.locator("td").nth(1).evaluate("e => getComputedStyle(e).textAlign") == "right"
    region = body.get_by_role("region", name="Table")
    assert region.evaluate("e => e.scrollWidth > e.clientWidth")
    region.focus()
    expect(region).to_be_focused()
    assert body.page.evaluate("document.documentElement.scrollWidth") <= 320


def test_code_has_colours_a_label_and_a_copy_button(show):
    code = 'def run(x):\n    return f"{x}"  # <b>comment</b>'
    body = show(f"```python\n{code}\n```", permissions=["clipboard-read", "clipboard-write"])
    expect(body.locator(".code-language")).to_have_text("python")
    expect(body.locator(".hl-keyword")).to_have_text(["def", "return"])
    expect(body.locator(".hl-comment")).to_have_text("# <b>comment</b>")
    assert body.locator("pre").text_content() == code
    assert body.locator(".code").get_attribute("dir") == "ltr"
    body.get_by_label("Copy the code").click()
    expect(body.page.locator("#status")).to_have_text("Copied.")
    assert body.page.evaluate("navigator.clipboard.readText()") == code


def test_code_of_an_unknown_language_is_plain(show):
    body = show("```brainfog\nx = 1\n```\n\n    indented")
    expect(body.locator(".code-language")).to_have_text(["brainfog", "text"])
    assert body.locator("[class^=hl-]").count() == 0


@pytest.mark.parametrize(
    ("text", "is_display"),
    [("$x^2$", False), (r"\(x^2\)", False), ("$$x^2$$", True), (r"\[x^2\]", True), ("$$\nx^2\n$$", True),
     ("\\[\nx^2\n\\]", True), ("so $$x^2$$ it is", True)],
)  # fmt: skip
def test_a_formula_is_mathml(show, text, is_display):
    body = show(text)
    expect(body.locator("math msup mi")).to_have_text("x")
    expect(body.locator("math msup mn")).to_have_text("2")
    expect(body.locator(".math-display")).to_have_count(int(is_display))
    assert "$" not in body.text_content()


def test_a_wrong_formula_stays_readable(show):
    body = show(r"The sum $\frac{a}{$ and $\nosuchcommand{b}$.")
    expect(body.locator(".math.wrong")).to_have_count(2)
    expect(body.locator(".math-source")).to_have_text([r"\frac{a}{", r"\nosuchcommand{b}"])


def test_prices_are_no_formulas(show):
    body = show("It costs $5 and $10, or $5-$10; `$x$` is code.")
    expect(body).to_have_text("It costs $5 and $10, or $5-$10; $x$ is code.")
    assert body.locator(".math").count() == 0


def test_reasoning_is_open_while_it_arrives_and_closed_afterwards(visit, script_answers):
    script_answers(
        ["<think>", "First *this*", "\n\n", "then that"] + ["."] * 20 + ["</think>", "The answer."], delay=0.05
    )
    page = visit()
    send(page, "why?")
    details = page.locator(".reasoning")
    expect(details).to_have_attribute("open", "")
    expect(details.locator("em")).to_have_text("this")
    expect(answers(page)).to_have_count(1)
    expect(details).not_to_have_attribute("open", "")
    expect(page.locator(".answer-text")).to_have_text("The answer.")
    assert "think>" not in answers(page).text_content()
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(details.get_by_text("First this")).to_be_visible()


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<thinking>a</thinking>b", ["a"], "b"),
        ("a\n</think>\n\nb", ["a"], "b"),
        ("<think>a</think>\n<think>b</think>c", ["a", "b"], "c"),
        ("Write `<think>` first.", [], "Write <think> first."),
        ("```\n</think>\n```\nx", [], None),
        ("Say <think>this</think>.", [], "Say <think>this</think>."),
    ],
)
def test_only_tags_of_reasoning_are_folded(show, text, reasoning, answer):
    body = show(text)
    assert [entry.strip() for entry in body.locator(".reasoning-text").all_text_contents()] == reasoning
    if answer:
        expect(body.locator(".answer-text")).to_have_text(answer)


def test_task_lists_strike_through_and_both_emphases(show):
    body = show("- [x] done\n- [ ] open\n- plain\n\n~~old~~ ***both***")
    assert body.get_by_role("checkbox").evaluate_all("all => all.map((e) => [e.checked, e.disabled, e.ariaLabel])") == [
        [True, True, "Done"], [False, True, "Not done"],
    ]  # fmt: skip
    expect(body.locator("s")).to_have_text("old")
    expect(body.locator("em strong")).to_have_text("both")


def test_a_footnote_is_reached_from_its_mark_and_back(show):
    body = show("A claim[^source] and `[^source]`.\n\n[^source]: The *note*.")
    mark = body.get_by_role("button", name="Footnote 1")
    mark.press("Enter")
    expect(body.get_by_role("note")).to_be_focused()
    expect(body.get_by_role("note")).to_have_text("1 The note.")
    body.get_by_label("Back to the text").press("Enter")
    expect(mark).to_be_focused()
    expect(body.locator("p code")).to_have_text("[^source]")


def test_a_focused_footnote_keeps_the_focus_when_the_stored_messages_are_shown(visit, script_answers):
    script_answers(["A claim[^source].\n\n[^source]: The note."])
    page = visit()
    held = []
    page.route("**/v1/conversations/conv*", lambda route: held.append(route))
    send(page, "show")
    note = answers(page).get_by_role("note")
    expect(note).to_have_text("1 The note.")
    note.focus()
    question = page.query_selector(".message.user")
    for route in held:
        route.continue_()
    page.unroute("**/v1/conversations/conv*")
    page.wait_for_function("question => !question.isConnected", arg=question)
    expect(note).to_be_focused()


def test_an_image_is_a_link_and_not_loaded(show):
    body = show(
        "![a cat](https://images.example/cat.png) ![](https://images.example/x.png) ![b](data:image/png;base64,AA)"
    )
    expect(body.locator("a")).to_have_text(["Image: a cat", "Image: without a description"])
    expect(body.locator("span.image-link")).to_have_text("Image: b")
    assert body.locator("img").count() == 0


def test_links_open_safely_and_tell_their_host_if_they_claim_another(show):
    body = show(
        "[site](https://a.example) [www.a.example](https://a.example/x) [b.example](https://a.example) me@a.example"
    )
    rels = body.locator("a").evaluate_all("all => all.map((e) => [e.rel, e.target])")
    assert rels == [["noopener noreferrer nofollow", "_blank"]] * 3
    expect(body.locator(".link-host")).to_have_text(["(a.example)"])


@pytest.mark.parametrize(
    ("text", "address", "is_honest"),
    [
        ("bank.example", "https://www.bank.example", True),
        ("bank.example", "https://pay.bank.example:8443/x", True),
        ("bank.example", "https://notbank.example", False),
        ("“bank.example”", "https://evil.example", False),
        ("log in (bank.example)", "https://evil.example", False),
        ("first.last@mail.example", "mailto:first.last@mail.example", True),
        ("first.last@mail.example", "mailto:first.last@evil.example", False),
    ],
)
def test_a_link_to_another_host_than_its_text_names_shows_the_host(show, text, address, is_honest):
    body = show(f"[{text}]({address})")
    expect(body.locator("a")).to_have_text(text)
    expect(body.locator(".link-host")).to_have_count(0 if is_honest else 1)


@pytest.mark.parametrize("text", ["مرحبا `print()` في Python؟", "- أول\n- ثان", "> اقتباس `x`", "שלום (עולם)"])
def test_arabic_and_hebrew_run_from_the_right(show, text):
    body = show(text)
    block = body.locator(".answer-text > *").first
    assert block.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert block.get_attribute("dir") == "auto"
    if block.locator("code").count():
        assert block.locator("code").evaluate("e => getComputedStyle(e).direction") == "ltr"
    expect(body.page.locator("#prompt")).to_have_attribute("dir", "auto")
    expect(body.page.locator("#title")).to_have_attribute("dir", "auto")


def test_directions_may_differ_between_blocks_and_items(show):
    body = show("English.\n\nمرحبا\n\n- English item\n- عنصر عربي")
    directions = body.locator(".answer-text > *").evaluate_all("all => all.map((e) => getComputedStyle(e).direction)")
    assert directions == ["ltr", "rtl", "ltr"]
    arabic_item = body.locator("li p").nth(1)
    assert arabic_item.evaluate("e => getComputedStyle(e).unicodeBidi") == "plaintext"


def test_hidden_directions_in_code_are_visible(show):
    body = show("```python\nif level != 'user\u202e':\n```")
    expect(body.locator(".control-character")).to_have_text("U+202E")


EVERYTHING = """<think>A thought.</think>
# Title

Text with [a link](https://example.org), `code` and $x^2$.[^1]

### Skipped level

| a | b |
| --- | --- |
| 1 | 2 |

- [x] done
- open

> Quotation

```python
print("x")  # comment
```

$$\\int_0^1 x\\,dx$$

![image](https://example.org/a.png)

[^1]: Note.
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_axe_finds_nothing_in_an_answer(show, scheme, width):
    body = show(EVERYTHING, color_scheme=scheme, viewport={"width": width, "height": 900})
    expect(body.locator("math").first).to_be_visible()
    expect(body.locator(".hl-comment")).to_be_visible()
    body.locator("summary").click()
    body.page.wait_for_timeout(300)
    assert violations(body.page) == []
    assert body.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_texts_of_an_answer_are_translated(show):
    body = show(EVERYTHING, locale="zh-CN")
    expect(body.locator("summary")).to_have_text("推理过程")
    expect(body.get_by_label("复制代码")).to_have_count(1)
    expect(body.get_by_role("region", name="表格")).to_have_count(1)
    expect(body.locator(".image-link")).to_have_text("图片：image")


def test_text_is_shown_as_it_is_if_the_parser_cannot_be_loaded(visit, script_answers):
    script_answers(["**bold**"])
    page = visit()
    page.route("**/markdown-it.js", lambda route: route.abort())
    page.reload()
    page.wait_for_selector("body[data-ready]")
    send(page, "hi")
    expect(answers(page)).to_have_text("**bold**")
