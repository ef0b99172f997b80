"""DOCX and XLSX: blocks of office documents, and archives that are refused before a library unpacks them."""

import datetime
import io
import zipfile

import docx
import pytest
from office_files import document_entries, workbook_entries, write_xlsx, write_zip

from turnwise.core.errors import UserError
from turnwise.retrieval.parsers.xlsx import format_cell
from turnwise.retrieval.parsing import limits

PARAGRAPH = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"


@pytest.fixture
def word_document():
    document = docx.Document()
    document.core_properties.title = "The manual"
    document.add_heading("Returns", level=1)
    document.add_paragraph("Send it back. 退货")
    document.add_paragraph("pack", style="List Number")
    document.add_paragraph("send", style="List Number")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip([*table.rows[0].cells, *table.rows[1].cells], ["Name", "Price", "Lamp", "12"], strict=True):
        cell.text = text
    document.add_heading("More", level=2)
    document.add_paragraph("visible").add_run(" INJECTED").font.hidden = True
    return document


def save(document):
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def test_blocks_of_a_word_document_without_hidden_text(parse, word_document):
    parsed = parse("a.docx", save(word_document))
    assert parsed.title == "The manual"
    assert parsed.blocks == [
        ("heading", 1, "Returns"),
        ("paragraph", "Send it back. 退货"),
        ("list_item", "1. pack"),
        ("list_item", "2. send"),
        ("table_row", "Name: Lamp | Price: 12"),
        ("heading", 2, "More"),
        ("paragraph", "visible"),
    ]


def test_rows_of_every_visible_sheet_name_their_columns(parse):
    sheets = {
        "Prices": [["Price list"], ["Name", "Price"], ["Lamp", 12], ["Desk", 80.5], [None, None], ["台灯", 9]],
        "Secret": [["Name", "Salary"], ["Ann", 1]],
        "Empty": [],
        "Stock": [["Lamp", 4]],
    }
    parsed = parse("a.xlsx", write_xlsx(sheets, hidden={"Secret"}))
    assert parsed.blocks == [
        ("heading", 1, "Prices"),
        ("paragraph", "Price list"),
        ("table_row", "Name: Lamp | Price: 12"),
        ("table_row", "Name: Desk | Price: 80.5"),
        ("table_row", "Name: 台灯 | Price: 9"),
        ("heading", 1, "Stock"),
        ("table_row", "Lamp | 4"),
    ]
    assert parsed.warnings == ["The hidden sheet 'Secret' was left out."]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (3.0, "3"), (0.1, "0.1"), (1e300, "1e+300"), (True, "TRUE"), (" x ", "x"), ("", ""),
        (datetime.datetime(2026, 11, 30), "2026-11-30"),
        (datetime.datetime(2026, 11, 30, 8, 5), "2026-11-30 08:05:00"),
        (datetime.date(2026, 11, 30), "2026-11-30"),
        (datetime.timedelta(hours=1), "1:00:00"),
    ],
)  # fmt: skip
def test_cells_as_text(cell, text):
    assert format_cell(cell) == text


def test_content_decides_and_not_the_file_name(parse, word_document):
    assert parse("a.txt", save(word_document)).blocks[0] == ("heading", 1, "Returns")
    assert parse("a.docx", write_xlsx({"A": [["x", "y"], ["1", "2"]]})).blocks == [("table_row", "x: 1 | y: 2")]


def test_a_zip_bomb_is_refused_by_its_ratio(parse):
    entries = document_entries(PARAGRAPH.format("x")) | {"word/media/a.bin": b"\0" * 20_000_000}
    with pytest.raises(UserError, match="zip bomb"):
        parse("a.docx", write_zip(entries))


def test_a_zip_bomb_is_refused_by_its_size(parse, monkeypatch):
    monkeypatch.setattr(limits, "MAX_ARCHIVE_BYTES", 100_000)
    entries = document_entries(PARAGRAPH.format("x")) | {f"word/{i}.bin": b"\0" * 50_000 for i in range(3)}
    with pytest.raises(UserError, match="at most 100,000 are read"):
        parse("a.docx", write_zip(entries))


def test_too_many_entries_are_refused(parse, monkeypatch):
    monkeypatch.setattr(limits, "MAX_ARCHIVE_ENTRIES", 5)
    entries = document_entries(PARAGRAPH.format("x")) | {f"word/{i}.bin": b"" for i in range(5)}
    with pytest.raises(UserError, match="entries"):
        parse("a.docx", write_zip(entries))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        "<!-- " + "x" * 100_000 + ' --><!DOCTYPE x SYSTEM "http://localhost/x.dtd">',
    ],
    ids=["bomb", "external", "far"],
)
def test_xml_that_declares_entities_is_refused(parse, declaration, encoding):
    documents = [
        ("word/document.xml", document_entries(PARAGRAPH.format("x"))),
        ("xl/workbook.xml", workbook_entries({"A": [["x"]]})),
    ]
    for part, entries in documents:
        xml = f'<?xml version="1.0" encoding="{encoding}"?>{declaration}{entries[part]}'
        with pytest.raises(UserError, match="declares a document type"):
            parse("a.docx", write_zip(entries | {part: xml.encode(encoding)}))


def test_an_encrypted_archive_is_refused(parse):
    content = bytearray(write_zip(document_entries(PARAGRAPH.format("x"))))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = -1
        while (position := content.find(mark, position + 1)) >= 0:
            content[position + offset] |= 1
    with pytest.raises(UserError, match="encrypted"):
        parse("a.docx", bytes(content))
    with pytest.raises(UserError, match="with a password"):
        parse("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500)


def test_other_archives_are_refused(parse):
    with pytest.raises(UserError, match="no format that is read"):
        parse("a.docx", write_zip({"a.txt": "text"}))


def test_a_picture_outside_of_the_file_is_not_opened(parse, tmp_path):
    picture = (
        '<w:p><w:r><w:t>text</w:t><w:drawing><wp:inline xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/'
        'wordprocessingDrawing"><a:graphic xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><a:graphicData>'
        '<pic:pic xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:blipFill><a:blip xmlns:r='
        '"http://schemas.openxmlformats.org/officeDocument/2006/relationships" r:link="rId9"/></pic:blipFill></pic:pic>'
        "</a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
    )
    link = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId9" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/image" Target="file:///etc/passwd" '
        'TargetMode="External"/></Relationships>'
    )
    entries = document_entries(picture) | {"word/_rels/document.xml.rels": link}
    assert parse("a.docx", write_zip(entries)).blocks == [("paragraph", "text")]


def test_a_sheet_that_spans_too_many_empty_cells_is_refused(parse):
    entries = workbook_entries({"A": [["x"]]})
    far = '<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>far</t></is></c></row></sheetData>'
    part = "xl/worksheets/sheet1.xml"
    entries[part] = entries[part].replace("</sheetData>", far)
    assert zipfile.is_zipfile(io.BytesIO(write_zip(entries)))
    with pytest.raises(UserError, match="spans 1,048,576 rows and 16,384 columns"):
        parse("a.xlsx", write_zip(entries))
