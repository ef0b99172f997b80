"""Formats by content, encodings, and files that are refused with a sentence."""

import bz2
import gzip
import io
import lzma
import tarfile

import pytest
from pdf_files import PdfPage, write_pdf

from turnwise.core.errors import UserError
from turnwise.retrieval.parsers import DOCUMENT_PARSERS, detect_format
from turnwise.retrieval.parsing.clean_text import clean_text
from turnwise.retrieval.parsing.document_source import DocumentNotes, open_source
from turnwise.retrieval.parsing.limits import MAX_WARNINGS
from turnwise.retrieval.parsing.text_decoding import detect_encoding, invalid_byte

CHINESE = "本店商品自签收之日起七天内可以退货，退款将在三个工作日内退回您的账户。如有问题请联系客服。\n"
TRADITIONAL = "本店商品自簽收之日起七天內可以退貨，退款將在三個工作日內退回您的帳戶。如有問題請聯繫客服。\n"
WESTERN = "Die Größe der Tür beträgt zwei Meter. Le café coûte 3 € – c’est très cher à la fenêtre.\n"
PDF = write_pdf([PdfPage(texts=[(50, 800, 10, "Text.")])])


@pytest.mark.parametrize(
    ("name", "content", "format_name"),
    [
        ("a.txt", PDF, "pdf"),
        ("a.html", PDF, "pdf"),
        ("a.txt", "<!DOCTYPE html>\n<p>x", "html"),
        ("a", "<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC 'x'>\n<html><p>x", "html"),
        ("a.html", "no tags at all", "html"),
        ("a.md", "# Title", "markdown"),
        ("a.txt", "# Title\n\nText with **bold** words.\n", "markdown"),
        ("a.txt", "plain text, with commas.\n", "text"),
        ("a.py", "x = 1\n", "text"),
        ("a.csv", "A,B\n1,2\n", "csv"),
        ("a", "A,B,C\n1,2,3\n4,5,6\n7,8,9\n", "csv"),
        ("a.txt", "One, two, three.\nFour, five, six.\nSeven, eight, nine.\nTen, eleven, twelve.\n", "text"),
        ("a.tsv", "A\tB\n1\t2\n", "tsv"),
        ("a.csv", "question,answer\nWhy?,So.\n", "faq"),
        ("a.jsonl", '{"question": "Why?", "answer": "So."}\n', "faq"),
        ("a.csv", "问题,回答\n为什么,因为\n", "faq"),
    ],
)
def test_the_format_is_recognized_by_content_first(write, name, content, format_name):
    assert detect_format(open_source(write(name, content)), DocumentNotes()) == format_name


def test_the_name_of_a_temporary_file_does_not_count(write):
    source = open_source(write("upload-17", "# Title\n"), "notes.md")
    assert detect_format(source, DocumentNotes()) == "markdown"


def _tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.html", gzip.compress(b"<html>", mtime=0), "compressed with gzip. Unpack it first"),
        ("a.txt", bz2.compress(b"text"), "bzip2"),
        ("a.txt", lzma.compress(b"text"), "xz"),
        ("a.tar", _tar(), "not a text"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "old format or with a password"),
        ("a.rtf", rb"{\rtf1 text}", "RTF"),
        ("a.txt", b"\x89PNG\r\n\x1a\n", "an image"),
        ("a.txt", b"\x7fELF\x02", "a program"),
        ("a.xml", '<?xml version="1.0"?><rss>x</rss>', "an XML file"),
        ("a.txt", "text\0text", "byte 4 is zero"),
        ("a.txt", "", "It is empty"),
        ("a.txt", " \n\n ", "It has no text"),
        ("a.html", "<script>x</script>", "It has no text"),
    ],
)
def test_other_files_are_refused_with_advice(parse, name, content, message):
    with pytest.raises(UserError, match=message):
        parse(name, content)


def test_a_file_that_is_too_large_is_refused_unread(write, monkeypatch):
    monkeypatch.setattr("turnwise.retrieval.parsing.document_source.MAX_FILE_BYTES", 3)
    with pytest.raises(UserError, match="4 bytes; at most 3"):
        open_source(write("a.txt", "text"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_without_a_warning(parse, encoding):
    parsed = parse("a.txt", (CHINESE + WESTERN).encode(encoding))
    assert parsed.blocks == [("paragraph", (CHINESE + WESTERN).strip())]
    assert parsed.warnings == []


@pytest.mark.parametrize(
    ("text", "encoding", "title"),
    [
        (CHINESE, "gbk", "GB18030"),
        (CHINESE * 200, "gb18030", "GB18030"),
        ("A,B\n名称,价格\n" + "x" * 100_000 + "\n" + CHINESE, "gbk", "GB18030"),
        (TRADITIONAL, "big5", "Big5"),
        (WESTERN, "cp1252", "windows-1252"),
        ("Only one: é. The rest is English text without any accents.\n", "cp1252", "windows-1252"),
    ],
    ids=["gbk", "gb18030", "late gbk", "big5", "cp1252", "one letter"],
)  # fmt: skip
def test_other_encodings_are_guessed_and_the_guess_is_a_warning(parse, text, encoding, title):
    parsed = parse("a.txt", text.encode(encoding))
    assert " ".join(block[-1] for block in parsed.blocks).split() == text.split()
    assert parsed.warnings == [f"It is not UTF-8; it was read as {title}, which is a guess."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CHINESE.encode()[:50] + b"\xff" + CHINESE.encode(), "not valid UTF-8: byte 48 cannot be decoded"),
        (CHINESE.encode() * 30_000 + b"\xe4\xbd", f"byte {len(CHINESE.encode()) * 30_000:,} cannot"),
        (CHINESE.encode("utf-16")[:-1], "not valid UTF-16"),
        (b"\xef\xbb\xbfabc\xff", "not valid UTF-8: byte 6"),
        (CHINESE.encode("gbk") * 2 + b"\xff\xff" + CHINESE.encode("gbk"), "cannot be decoded"),
    ],
)
def test_bytes_that_cannot_be_decoded_are_refused_with_their_position(parse, content, message):
    with pytest.raises(UserError, match=message):
        parse("a.txt", content)


def test_the_position_of_an_invalid_byte_is_that_in_the_file(write):
    assert invalid_byte(write("a.txt", b"x" * (2**20 - 1) + "中".encode() + b"\x80"), "utf-8") == 2**20 + 2
    assert invalid_byte(write("b.txt", "中".encode()), "utf-8") is None


def test_an_encoding_that_the_page_declares_is_used_only_if_it_decodes_the_page(write):
    path = write("a.txt", CHINESE.encode("gbk"))
    assert detect_encoding(path, "gbk").warning == ""
    assert detect_encoding(path, "ascii").name == "gb18030"
    assert detect_encoding(path, "no-such-code").name == "gb18030"
    assert detect_encoding(path, "utf-16").name == "gb18030"


def test_warnings_are_counted_and_not_repeated():
    notes = DocumentNotes()
    for number in range(MAX_WARNINGS + 7):
        notes.warn(f"Warning {number}.")
        notes.warn("Warning 0.")
    assert len(notes.all_warnings()) == MAX_WARNINGS + 1
    assert notes.all_warnings()[-1] == "There are 7 more warnings."


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (" a\x00b\ud800c\ufffe ", "abc"),
        ("x\U000e0049\U000e0067y", "xy"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4\U000e0067\U000e0062\U000e007f"),
        ("tab\tand\nline", "tab\tand\nline"),
    ],
)
def test_invisible_characters_are_removed(text, cleaned):
    assert clean_text(text) == cleaned


def test_titles_and_warnings_can_be_encoded(parse):
    notes = DocumentNotes()
    notes.warn("Sheet \ud800.")
    assert notes.all_warnings() == ["Sheet ."]
    assert parse("a.html", f"<title>{'t' * 9000}</title><p>x").title == "t" * 500


def test_every_format_has_a_parser():
    expected = "csv docx faq html json_texts markdown pdf text tsv xlsx"
    assert " ".join(DOCUMENT_PARSERS.names()) == expected
