"""PDF: reading order, paragraphs, headings, and files that are refused."""

import pytest
from pdf_files import PdfPage, break_cross_references, write_pdf

from turnwise.core.errors import UserError
from turnwise.retrieval.parsing import limits

SENTENCES = [f"Sentence number {number} says that the lamp is bright and the desk is brown." for number in range(12)]


def numbered(name, count):
    return [f"The {name} column has line {number} of its text here," for number in range(count)]


def test_paragraphs_and_headings(parse):
    page = PdfPage()
    page.add_lines(50, 800, ["Returns"], size=20)
    height = page.add_paragraph(50, 770, " ".join(SENTENCES[:4]))
    page.add_lines(50, height - 15, ["Costs"], size=14)
    page.add_paragraph(50, height - 40, " ".join(SENTENCES[4:]))
    parsed = parse("a.pdf", write_pdf([page]))
    assert parsed.title == "Returns"
    assert parsed.blocks == [
        ("heading", 1, "Returns"),
        ("paragraph", " ".join(SENTENCES[:4])),
        ("heading", 2, "Costs"),
        ("paragraph", " ".join(SENTENCES[4:])),
    ]


def test_a_hyphen_at_the_end_of_a_line_is_undone(parse):
    page = PdfPage()
    page.add_lines(
        50, 800, ["This is a long line that ends with a hyphen-", "ation, and another with a well-known word."]
    )
    assert parse("a.pdf", write_pdf([page])).blocks == [
        ("paragraph", "This is a long line that ends with a hyphenation, and another with a well-known word.")
    ]


def test_chinese_lines_are_joined_without_spaces(parse):
    page = PdfPage()
    page.add_lines(50, 800, ["为了保护消费者的合法权益，维护社会经济秩", "序，制定本法。消费者需要购买商品。"])
    assert parse("a.pdf", write_pdf([page])).blocks == [
        ("paragraph", "为了保护消费者的合法权益，维护社会经济秩序，制定本法。消费者需要购买商品。")
    ]


@pytest.mark.parametrize("by_rows", [False, True], ids=["drawn by columns", "drawn by rows"])
def test_two_columns_are_read_one_after_the_other(parse, by_rows):
    page = PdfPage()
    page.add_lines(150, 800, ["A title that runs across both of the two columns"], size=16)
    left, right = numbered("left", 12), numbered("right", 12)
    columns = [
        [(50, 760 - 12 * i, 10, text) for i, text in enumerate(left)],
        [(310, 760 - 12 * i, 10, text) for i, text in enumerate(right)],
    ]
    if by_rows:
        page.texts += [text for row in zip(*columns, strict=True) for text in row]
    else:
        page.texts += columns[0] + columns[1]
    blocks = parse("a.pdf", write_pdf([page])).blocks
    assert blocks[0][-1] == "A title that runs across both of the two columns"
    assert " ".join(block[-1] for block in blocks[1:]) == " ".join([*left, *right])


def test_a_table_is_read_by_rows(parse):
    page = PdfPage()
    rows = [("Name", "Price", "Colour"), *((f"Lamp {number}", f"{number} EUR", "red") for number in range(8))]
    for index, row in enumerate(rows):
        page.texts += [(x, 800 - 14 * index, 10, cell) for x, cell in zip((50, 250, 450), row, strict=True)]
    blocks = parse("a.pdf", write_pdf([page])).blocks
    assert blocks == [("table_row", " | ".join(row)) for row in rows]


def test_page_headers_and_footers_are_left_out(parse):
    pages = []
    for number in range(1, 6):
        page = PdfPage()
        page.add_lines(50, 820, ["The manual of the lamp"], size=8)
        page.add_lines(280, 20, [f"Page {number} of 5"], size=8)
        page.add_paragraph(50, 760, f"Chapter text {number}. " + " ".join(SENTENCES[number : number + 3]))
        pages.append(page)
    texts = [block[-1] for block in parse("a.pdf", write_pdf(pages)).blocks]
    assert [text[:14] for text in texts] == [f"Chapter text {number}"[:14] for number in range(1, 6)]
    assert not any("manual" in text or "Page" in text for text in texts)


def test_a_paragraph_goes_on_on_the_next_page(parse):
    first, second = PdfPage(), PdfPage()
    lines = [
        "This paragraph begins on the first page of the document and",
        "it goes on without an end in this line, because the next",
    ]
    first.add_lines(50, 60, lines)
    second.add_lines(50, 800, ["page has the rest of it."])
    text = " ".join([*lines, "page has the rest of it."])
    assert parse("a.pdf", write_pdf([first, second])).blocks == [("paragraph", text)]


def test_bookmarks_are_headings(parse):
    page = PdfPage()
    page.add_lines(50, 800, ["Returns"])
    page.add_paragraph(50, 770, " ".join(SENTENCES))
    parsed = parse("a.pdf", write_pdf([page], outline=[("Returns", 0)], title="Manual"))
    assert parsed.title == "Manual"
    assert [block[0] for block in parsed.blocks] == ["heading", "paragraph"]


def test_size_tells_no_headings_where_much_is_large(parse):
    page = PdfPage()
    page.add_paragraph(50, 800, " ".join(SENTENCES[:6]), size=10)
    page.add_paragraph(50, 600, " ".join(SENTENCES[6:]), size=13, width=60)
    assert {block[0] for block in parse("a.pdf", write_pdf([page])).blocks} == {"paragraph"}


def test_an_image_without_text_is_a_warning_and_an_empty_page_is_not(parse):
    page = PdfPage()
    page.add_lines(50, 800, ["Text."])
    parsed = parse("a.pdf", write_pdf([page, PdfPage(has_image=True), PdfPage()]))
    assert parsed.blocks == [("paragraph", "Text.")]
    assert parsed.warnings == ["Page 2 is an image without text."]


def test_a_document_of_images_or_empty_pages_is_refused(parse):
    with pytest.raises(UserError, match="only images"):
        parse("a.pdf", write_pdf([PdfPage(has_image=True)] * 2))
    with pytest.raises(UserError, match="pages are empty"):
        parse("a.pdf", write_pdf([PdfPage()] * 2))


def test_an_encrypted_file_is_refused(parse):
    page = PdfPage(texts=[(50, 800, 10, "Text.")])
    with pytest.raises(UserError, match=r"encrypted\. Save it without a password"):
        parse("a.pdf", write_pdf([page], password="secret"))


def test_a_broken_cross_reference_table_is_repaired(parse):
    page = PdfPage(texts=[(50, 800, 10, "Text.")])
    broken = break_cross_references(write_pdf([page]))
    assert broken != write_pdf([page])
    assert parse("a.pdf", broken).blocks == [("paragraph", "Text.")]


def test_a_file_that_is_no_pdf_is_refused(parse):
    with pytest.raises(UserError, match="damaged"):
        parse("a.pdf", b"%PDF-1.7\nnothing follows")


def test_a_pdf_with_another_name_is_read(parse):
    page = PdfPage(texts=[(50, 800, 10, "Text.")])
    assert parse("a.txt", b"\n" + write_pdf([page])).blocks == [("paragraph", "Text.")]


def test_too_many_pages_are_refused(parse, monkeypatch):
    monkeypatch.setattr("turnwise.retrieval.parsing.pdf_document.MAX_PAGES", 2)
    assert limits.MAX_PAGES >= 2000
    with pytest.raises(UserError, match="3 pages; at most 2"):
        parse("a.pdf", write_pdf([PdfPage()] * 3))


@pytest.mark.slow
def test_two_thousand_pages(parse):
    pages = []
    for number in range(2000):
        page = PdfPage()
        page.add_lines(50, 820, ["Running head"], size=8)
        page.add_paragraph(50, 760, f"Page text {number}. " + " ".join(SENTENCES) + " The end.")
        pages.append(page)
    blocks = parse("a.pdf", write_pdf(pages)).blocks
    assert len(blocks) == 2000
    assert blocks[1999][-1].startswith("Page text 1999.")


@pytest.mark.slow
def test_a_page_with_a_million_characters(parse):
    page = PdfPage()
    for number in range(10_000):
        page.texts.append((50, 800 - number * 0.07, 0.05, f"{number:05d} " + "word " * 19))
    text = "".join(block[-1] for block in parse("a.pdf", write_pdf([page])).blocks)
    assert text.count("word") == 190_000
