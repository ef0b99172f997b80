"""Markdown, plain text, CSV, TSV and questions with answers, as blocks."""

import json

import pytest

from turnwise.core.errors import UserError


def test_markdown_blocks(parse):
    text = """# Shop

Send it *back* within
**30 days**, see [the form](http://x).

## Steps

1. Pack it
2. Send it
   - by mail

| Name | Price |
|------|-------|
| Lamp | 12    |

```python
x = 1

y = 2
```

> quoted
"""
    parsed = parse("a.md", text)
    assert parsed.title == "Shop"
    assert parsed.blocks == [
        ("heading", 1, "Shop"),
        ("paragraph", "Send it back within 30 days, see the form."),
        ("heading", 2, "Steps"),
        ("list_item", "1. Pack it"),
        ("list_item", "2. Send it"),
        ("list_item", "by mail"),
        ("table_row", "Name: Lamp | Price: 12"),
        ("code", "x = 1\n\ny = 2"),
        ("paragraph", "quoted"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("before <span style='display:none'>INJECTED</span>after", "before after"),
        ("<div hidden>INJECTED</div>\n\nafter", "after"),
        ("<!-- INJECTED -->\n\nafter", "after"),
        ("the <title> tag and <script> in text", "the <title> tag and <script> in text"),
        ("退货\n需要", "退货需要"),
        ("a & b < c", "a & b < c"),
        ("a &amp; <b>b</b> &lt; c", "a & b < c"),
        ("one  \ntwo", "one\ntwo"),
        ("![a picture](x.png)", "a picture"),
    ],
)
def test_markdown_text_is_what_readers_see(parse, text, expected):
    assert parse("a.md", text).blocks == [("paragraph", expected)]


def test_front_matter_gives_the_title(parse):
    parsed = parse("a.md", '---\ntitle: "The shop"\ntags: [a]\n---\nText')
    assert (parsed.title, parsed.blocks) == ("The shop", [("paragraph", "Text")])
    assert parse("a.md", "---\nText\n---\n").blocks[0][-1] == "Text"


def test_markdown_that_is_nested_too_deeply_is_refused_and_not_dropped(parse):
    with pytest.raises(UserError, match="nested"):
        parse("a.md", ">" * 200 + " text")


def test_plain_text_paragraphs(parse):
    text = "First line\nsecond line\n\n\nNext.\n" + "long " * 50 + "\nshort"
    blocks = parse("a.txt", text).blocks
    assert blocks == [
        ("paragraph", "First line\nsecond line"),
        ("paragraph", "Next."),
        ("paragraph", ("long " * 50).strip()),
        ("paragraph", "short"),
    ]


def test_chinese_text_has_chapters_and_indented_paragraphs(parse):
    text = "第一章 总则\n　　第一条 为了保护消费者。\n　　第二条 本法适用。\n第二节　其他\n正文"
    assert parse("a.txt", text).blocks == [
        ("heading", 2, "第一章 总则"),
        ("paragraph", "第一条 为了保护消费者。"),
        ("paragraph", "第二条 本法适用。"),
        ("heading", 3, "第二节　其他"),
        ("paragraph", "正文"),
    ]


def test_a_log_without_empty_lines_is_divided_between_lines(parse):
    lines = [f"line {number} of a log" for number in range(5000)]
    blocks = parse("a.log", "\n".join(lines)).blocks
    assert 5 < len(blocks) < 50
    assert "\n".join(text for _, text in blocks) == "\n".join(lines)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_rows_name_their_columns(parse, delimiter):
    rows = [["Name", "Price", "Note"], ["Lamp", "12", "red; or, blue | both"], ["Desk", "80", ""]]
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    assert parse("a.csv", text).blocks == [
        ("table_row", "Name: Lamp | Price: 12 | Note: red; or, blue | both"),
        ("table_row", "Name: Desk | Price: 80"),
    ]


def test_a_declared_delimiter_is_used(parse):
    assert parse("a.csv", "sep=;\nA,a;B,b\n1;2\n").blocks == [("table_row", "A,a: 1 | B,b: 2")]


def test_a_first_row_of_values_names_no_columns_but_years_do(parse):
    assert parse("a.csv", "Lamp,12\nDesk,80\n").blocks == [("table_row", "Lamp | 12"), ("table_row", "Desk | 80")]
    assert parse("a.csv", "Land,2019,2020\nPeru,1,2\n").blocks == [("table_row", "Land: Peru | 2019: 1 | 2020: 2")]


def test_cells_with_line_breaks_and_rows_of_other_widths(parse):
    assert parse("a.csv", 'A,B\n"x\ny",2,extra\n\n,\n3\n').blocks == [
        ("table_row", "A: x y | B: 2 | extra"),
        ("table_row", "A: 3"),
    ]


def test_a_quote_that_is_not_closed_is_refused(parse):
    with pytest.raises(UserError, match="quotes or delimiters are broken near line 4"):
        parse("a.csv", 'A,B\n1,"2\n3,4\n5,6\n')


def test_tsv_by_content(parse):
    assert parse("notes.txt", "Name\tPrice\nLamp\t12\nDesk\t80\n").blocks[0] == ("table_row", "Name: Lamp | Price: 12")


PAIRS = [("How do I return it?", "Send it back.\nThen wait."), ("多久到？", "三天。")]
EXPECTED = [(kind, text) for pair in PAIRS for kind, text in zip(("question", "answer"), pair, strict=True)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", "\n".join(json.dumps({"question": q, "answer": a}, ensure_ascii=False) for q, a in PAIRS)),
        ("a.json", json.dumps([{"Question": q, "Answer": a} for q, a in PAIRS], indent=1)),
        ("a.json", json.dumps({"faq": [{"q": q, "a": a.split("\n")} for q, a in PAIRS]})),
        ("a.csv", "id,question,answer\n" + "\n".join(f'{i},"{q}","{a}"' for i, (q, a) in enumerate(PAIRS))),
        ("a.tsv", "问题\t答案\n" + "\n".join(f'{q}\t"{a}"' for q, a in PAIRS)),
        (
            "a.yaml",
            "".join(f"- question: {q}\n  answer: |\n    {a.replace(chr(10), chr(10) + '    ')}\n" for q, a in PAIRS),
        ),
        ("a.md", "\n\n".join(f"**Q: {q}**\n\nA: {a}" for q, a in PAIRS)),
        ("a.txt", "\n\n".join(f"问题：{q}\n答：{a}" for q, a in PAIRS)),
    ],
)
def test_questions_stay_with_their_answers(parse, name, text):
    assert parse(name, text).blocks == EXPECTED


def test_what_is_beside_the_pairs_is_kept(parse):
    text = "# FAQ\n\nIntro.\n\nQ: One?\nA: First.\n\nSecond part.\n\n## More\n\nQ: Two?\nA: Yes.\n\nQ: Open?\n"
    parsed = parse("a.md", text)
    assert parsed.blocks == [
        ("heading", 1, "FAQ"),
        ("paragraph", "Intro."),
        ("question", "One?"),
        ("answer", "First.\n\nSecond part."),
        ("heading", 2, "More"),
        ("question", "Two?"),
        ("answer", "Yes."),
        ("paragraph", "Open?"),
    ]
    assert parsed.warnings == ["A question has no answer; it was read as a paragraph."]


def test_columns_that_are_not_read_and_missing_answers_are_warnings(parse):
    parsed = parse("a.csv", "question,answer,topic\nWhy?,,x\n")
    assert parsed.blocks == [("paragraph", "Why?")]
    assert parsed.warnings == [
        "Only questions and answers were read, not 'topic'.",
        "Its line 2 has no answer; it was read as a paragraph.",
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"question": "a", "answer": "b"}\n{"question": ', "line 2 is not readable JSON"),
        ("a.jsonl", '{"question": "a", "answer": {"x": 1}}\n', "line 1: 'answer' should be text"),
        ("a.jsonl", '{"question": "a\\ud800", "answer": "b"}\n', "surrogate"),
        ("a.json", '{"question": "a", "answer": "b"', "not readable JSON"),
        ("a.yaml", "- &a {question: q, answer: a}\n- *a\n", "anchors"),
        ("a.yaml", "- question: [unclosed\n  answer: a\n", "not valid YAML"),
        ("a.json", '{"messages": []}', "no format that is read"),
    ],
)
def test_malformed_questions_are_refused(parse, name, text, message):
    with pytest.raises(UserError, match=message):
        parse(name, text)
