"""Damaged documents of every format: the outcome is blocks or an error that names the document, never a dead parser."""

import io
import random
import zipfile

import pytest
from office_files import document_entries, write_xlsx, write_zip
from pdf_files import PdfPage, write_pdf

from turnwise.core.errors import UserError
from turnwise.retrieval.parser_process import ParserLimits, ParserProcess
from turnwise.retrieval.parsers import DOCUMENT_PARSERS

NUM_MUTATIONS = 2000
LIMITS = ParserLimits(cpu_seconds=4, seconds=600)
PARAGRAPHS = "".join(f"<w:p><w:r><w:t>Paragraph {number} 退货</w:t></w:r></w:p>" for number in range(30))


def _pdf():
    page = PdfPage(texts=[(50, 800 - 14 * number, 10, f"Line {number} of the page 中文") for number in range(30)])
    return write_pdf([page, PdfPage(has_image=True), page], title="Title", outline=[("Line 3", 0), ("Line 4", 2)])


def _html():
    rows = "".join(f"<tr><td>{number}</td><td rowspan=2>b<br>c</td></tr>" for number in range(9))
    return (
        "<!DOCTYPE html><html><head><title>t</title><style>.x{display:none}</style></head><body><h1>T</h1><p class=x>"
        "退货<ul><li>a<li>b<ol start=3><li>c</ol></ul>"
        f"<table><tr><th>A</th><th>B</th></tr>{rows}</table><pre>x</pre></html>"
    )


DOCUMENTS = {
    "pdf": _pdf(),
    "docx": write_zip(document_entries(PARAGRAPHS)),
    "xlsx": write_xlsx({"A": [["Name", "Price"], *([f"n{number}", number] for number in range(30))], "B": [["x"]]}),
    "html": _html().encode(),
    "markdown": (
        "# T\n\n- a\n  1. b\n\n> q\n\n| A | B |\n|--|--|\n| 1 | 2 |\n\n```\nx\n```\n[a](b) **c** <b>d</b>\n" * 5
    ).encode(),
    "csv": ("Name,Price\n" + '"a ""b"", c",1\n退货,2\n' * 30).encode("gb18030"),
    "tsv": ("Name\tPrice\n" + "a\t1\n" * 50).encode("utf-16"),
    "faq": ("".join(f'{{"question": "Why {number}?", "answer": "So 退货."}}\n' for number in range(30))).encode(),
    "json_texts": "".join(f'{{"text": "Line {number} 中文"}}\n' for number in range(30)).encode(),
    "text": ("第一章 总则\n　　段落。\n\nParagraph of text.\n" * 30).encode("big5", errors="ignore"),
}
SUFFIXES = {"markdown": "md", "faq": "jsonl", "json_texts": "jsonl", "text": "txt"}


def test_there_is_a_document_of_every_format():
    assert set(DOCUMENTS) == set(DOCUMENT_PARSERS.names())


@pytest.fixture(scope="module")
def parsers():
    with ParserProcess(LIMITS) as process:
        yield process


def outcome(parsers, path):
    """Parse a document; return the number of its blocks, or its error. Every other error fails the test."""
    try:
        document = parsers.parse(path)
    except UserError as error:
        return error
    assert document.blocks
    assert document.text.encode()
    return len(document.blocks)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_cut_off(parsers, tmp_path, name):
    content = DOCUMENTS[name]
    path = tmp_path / f"a.{SUFFIXES.get(name, name)}"
    path.write_bytes(content)
    assert outcome(parsers, path) in range(1, 1000)
    outcomes = []
    for numerator in range(8):
        path.write_bytes(content[: len(content) * numerator // 8])
        outcomes.append(outcome(parsers, path))
    assert str(outcomes[0]) == f"'{path.name}' cannot be read. It is empty."
    if name in ("docx", "xlsx"):
        assert all(isinstance(error, UserError) for error in outcomes)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_random_damage(parsers, tmp_path, name):
    generator = random.Random(name)
    path = tmp_path / f"a.{SUFFIXES.get(name, name)}"
    num_read = 0
    for _ in range(NUM_MUTATIONS):
        path.write_bytes(damage(DOCUMENTS[name], generator))
        num_read += isinstance(outcome(parsers, path), int)
    assert 0 < num_read < NUM_MUTATIONS
    path.write_bytes(DOCUMENTS[name])
    assert isinstance(outcome(parsers, path), int)


def damage(content, generator):
    """Return the content with random damage; of a zip archive, often with damage in one of its files."""
    if content.startswith(b"PK") and generator.random() < 0.7:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        name = generator.choice(list(entries))
        return write_zip(entries | {name: damage(entries[name], generator)})
    pieces = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 5, 20))):
        start = generator.randrange(len(pieces) + 1)
        end = min(len(pieces), start + generator.choice((1, 2, 8, 100)))
        match generator.randrange(5):
            case 0:
                pieces[start:end] = generator.randbytes(end - start)
            case 1:
                del pieces[start:end]
            case 2:
                pieces[start:start] = pieces[start:end] * generator.choice((1, 3, 200))
            case 3:
                pieces[start:start] = generator.choice((b"\0", b"\xff", b"<div>", b"&#0;", b'"', b"[" * 50, b"9" * 30))
            case 4:
                other = generator.randrange(len(pieces) + 1)
                pieces[start:end] = pieces[other : other + 50]
    return bytes(pieces)
