"""HTML: what readers of a page see, as blocks."""

import pytest

from turnwise.core.errors import UserError

PAGE = """<!DOCTYPE html><html><head><title>Our  shop</title><script>var secret = 1</script>
<style>.ghost, #trap { color: red; display : none } @media print { .print { display: none } }
p:hover {display:none}</style>
</head><body>
<nav><a href="/">Home</a></nav><div role="navigation">Menu</div>
<h1>Returns &amp; refunds</h1>
<p>Send it <b>back</b> within
30 days.<br>Then wait.</p>
CONTENT
<footer>Call 555-0100</footer></body></html>"""


def test_a_page_is_read_as_its_readers_see_it(parse):
    parsed = parse("a.html", PAGE.replace("CONTENT", ""))
    assert parsed.title == "Our shop"
    assert parsed.blocks == [
        ("heading", 1, "Returns & refunds"),
        ("paragraph", "Send it back within 30 days.\nThen wait."),
        ("paragraph", "Call 555-0100"),
    ]


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>INJECTED</script>",
        "<style>INJECTED</style>",
        "<!-- INJECTED -->",
        "<template><p>INJECTED</p></template>",
        "<noscript>INJECTED</noscript>",
        "<div hidden>INJECTED</div>",
        "<div style='display:none'><p>deep <b>INJECTED</b></p></div>",
        "<p style='color:red; DISPLAY : None!important'>INJECTED</p>",
        "<p style='visibility: hidden'>INJECTED</p>",
        "<p style='position:absolute; left: -9999px'>INJECTED</p>",
        "<p style='font-size:0px'>INJECTED</p>",
        "<p style='opacity: 0.0;'>INJECTED</p>",
        "<p aria-hidden=true>INJECTED</p>",
        "<p class='x ghost'>INJECTED</p>",
        "<div id=trap>INJECTED</div>",
        "<svg><text>INJECTED</text></svg>",
        "<iframe>INJECTED</iframe>",
        "<select><option>INJECTED</option></select>",
        "<input type=hidden value=INJECTED>",
        "<img src=x alt=INJECTED>",
        "<a title=INJECTED></a>",
        "<dialog>INJECTED</dialog>",
        "<table><tr><td>seen</td><td style='display:none'>INJECTED</td></tr></table>",
        "<table hidden><tr><td>INJECTED</td></tr></table>",
        "<p>\U000e0049\U000e004e\U000e004aseen</p>",
    ],
)
def test_hidden_elements_are_left_out(parse, hidden):
    texts = " ".join(block[-1] for block in parse("a.html", PAGE.replace("CONTENT", hidden)).blocks)
    assert "INJECTED" not in texts
    assert not any("\U000e0000" <= character <= "\U000e007f" for character in texts)
    assert texts.startswith("Returns & refunds")
    assert texts.endswith("Call 555-0100")


@pytest.mark.parametrize(
    "shown",
    [
        "<p class=print>SHOWN</p>",
        "<p style='opacity: 0.5'>SHOWN</p>",
        "<p style='font-size: 0.9em'>SHOWN</p>",
        "<p>SHOWN</p>",
        "<details><summary>SHOWN</summary></details>",
        "<dialog open>SHOWN</dialog>",
        "<form><label>SHOWN</label></form>",
    ],
)
def test_other_elements_are_read(parse, shown):
    assert ("paragraph", "SHOWN") in parse("a.html", PAGE.replace("CONTENT", shown)).blocks


def test_rows_of_a_table_name_their_columns(parse):
    table = """<table><caption>Prices</caption><thead><tr><th>Name</th><th>Price</th></tr></thead>
    <tr><td>Lamp</td><td>12 EUR</td></tr><tr><td rowspan=2>Desk</td><td>80 EUR</td></tr><tr><td>90 EUR</td></tr>
    <tr><td colspan="2">sold out</td></tr></table>"""
    assert parse("a.html", table).blocks == [
        ("paragraph", "Prices"),
        ("table_row", "Name: Lamp | Price: 12 EUR"),
        ("table_row", "Name: Desk | Price: 80 EUR"),
        ("table_row", "Name: Desk | Price: 90 EUR"),
        ("table_row", "Name: sold out | Price: sold out"),
    ]


def test_a_table_without_marked_header_names_columns_by_a_first_row_that_can(parse):
    rows = "<tr><td>{}</td><td>{}</td></tr>"
    table = f"<table>{rows.format('名称', '价格')}{rows.format('台灯', '12')}</table>"
    assert parse("a.html", table).blocks == [("table_row", "名称: 台灯 | 价格: 12")]
    table = f"<table>{rows.format('Lamp', '12')}{rows.format('Desk', '80')}</table>"
    assert parse("a.html", table).blocks == [("table_row", "Lamp | 12"), ("table_row", "Desk | 80")]


def test_a_header_cell_at_the_beginning_of_a_row_names_the_row(parse):
    table = "<table><tr><th>Weight</th><td>12 kg</td></tr><tr><th>Colour:</th><td>red</td></tr></table>"
    assert parse("a.html", table).blocks == [("table_row", "Weight: 12 kg"), ("table_row", "Colour: red")]


def test_a_table_that_arranges_the_page_is_not_a_table(parse):
    page = (
        "<table><tr><td><h2>Left</h2><p>text</p></td><td><table><tr><td>1</td><td>2</td></tr></table></td></tr></table>"
    )
    assert parse("a.html", page).blocks == [("heading", 2, "Left"), ("paragraph", "text"), ("table_row", "1 | 2")]


def test_lists_and_code(parse):
    page = """<ol start=3><li>three<ul><li>bullet</li></ul></li><li><p>four</p></li></ol>
    <dl><dt>Term</dt><dd>its definition</dd></dl><pre>if x:\n    return 1\n</pre>"""
    assert parse("a.html", page).blocks == [
        ("list_item", "3. three"),
        ("list_item", "bullet"),
        ("list_item", "4. four"),
        ("list_item", "Term: its definition"),
        ("code", "if x:\n    return 1"),
    ]


def test_line_breaks_between_chinese_characters_are_no_spaces(parse):
    assert parse("a.html", "<p>退货\n需要 七天</p>").blocks == [("paragraph", "退货需要 七天")]


def test_the_page_says_its_encoding(parse):
    page = (
        "<html><head><meta charset='shift_jis'><title>x</title></head><body><p>返品は三十日以内です</p></body></html>"
    )
    parsed = parse("a.html", page.encode("shift_jis"))
    assert parsed.blocks == [("paragraph", "返品は三十日以内です")]
    assert parsed.warnings == []
    page = "<meta http-equiv=Content-Type content='text/html; charset=euc-kr'><p>반품은 삼십일 이내입니다</p>"
    assert parse("a.html", page.encode("euc-kr")).blocks == [("paragraph", "반품은 삼십일 이내입니다")]


def test_elements_nested_too_deeply_are_refused(parse):
    with pytest.raises(UserError, match="nested more than 500"):
        parse("a.html", "<div>" * 100_000 + "text")


def test_broken_html_is_read(parse):
    assert parse("a.html", "<h1>Title<p>one <b>two</p><table><tr><td>x").blocks[-1] == ("table_row", "x")
