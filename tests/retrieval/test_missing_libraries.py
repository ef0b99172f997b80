"""Documents are read with the libraries of their own format: a missing one concerns no other format."""

import subprocess
import sys

import pytest
from office_files import document_entries, write_xlsx, write_zip
from pdf_files import PdfPage, write_pdf

from turnwise.retrieval.parser_process import ParserProcess, UnreadableDocument

LIBRARIES = ("charset_normalizer", "mammoth", "pypdfium2", "python_calamine", "selectolax")


@pytest.fixture
def without_libraries(tmp_path, monkeypatch):
    """A parser process that has none of the libraries."""
    folder = tmp_path / "stubs"
    folder.mkdir()
    for name in LIBRARIES:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module', name='{name}')\n")
    monkeypatch.syspath_prepend(str(folder))
    with ParserProcess() as parsers:
        yield parsers


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", "# Lamps\n\nReturn it **soon**."),
        ("notes.txt", "Return it soon."),
        ("prices.csv", "Item,Price\nLamp,3\n"),
        ("faq.jsonl", '{"question": "Return?", "answer": "Soon."}\n'),
        ("data.tsv", "Item\tPrice\nLamp\t3\n"),
    ],
)
def test_texts_need_no_library(without_libraries, write, name, content):
    assert without_libraries.parse(write(name, content)).blocks


@pytest.mark.parametrize(
    ("name", "content", "library"),
    [
        ("page.html", "<html><body><p>Lamps</p></body></html>", "selectolax"),
        ("raw_html.md", "# Lamps\n\n<div>Lamps</div>\n", "selectolax"),
        ("guide.pdf", write_pdf([PdfPage([(50, 700, 12, "Lamps")])]), "pypdfium2"),
        ("guide.docx", write_zip(document_entries("<w:p><w:r><w:t>Lamps</w:t></w:r></w:p>")), "mammoth"),
        ("prices.xlsx", write_xlsx({"Prices": [["Lamp", 3]]}), "python-calamine"),
        ("latin.txt", "Grüße".encode("latin-1"), "charset-normalizer"),
    ],
    ids=["html", "raw_html", "pdf", "docx", "xlsx", "encoding"],  # the bytes of an archive have its time
)
def test_a_missing_library_is_named_by_documents_that_need_it(without_libraries, write, name, content, library):
    with pytest.raises(UnreadableDocument) as caught:
        without_libraries.parse(write(name, content))
    sentence = f"It needs {library} to be read: pip install 'turnwise[knowledge]'."
    assert str(caught.value) == f"'{name}' cannot be read. {sentence}"


def test_a_parser_of_another_package_that_cannot_be_imported_is_a_warning(write, tmp_path, monkeypatch):
    folder = tmp_path / "packages"
    metadata = folder / "broken-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "broken_parser.py").write_text("import no_such_library\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[turnwise.document_parsers]\nbroken = broken_parser\n")
    monkeypatch.syspath_prepend(str(folder))
    with ParserProcess() as parsers:
        document = parsers.parse(write("notes.txt", "Return it soon."))
    assert [block.text for block in document.blocks] == ["Return it soon."]
    assert "the package 'broken' cannot be imported" in document.warnings[0]


def test_reading_a_text_imports_no_library_of_another_format(write):
    code = (
        "import sys; from pathlib import Path; from turnwise.retrieval.parsing.parse_document import parse_document;"
        "from turnwise.retrieval.parsing.document_source import DocumentNotes;"
        "list(parse_document(Path(sys.argv[1]), DocumentNotes()));"
        f"print([name for name in {LIBRARIES} if name in sys.modules])"
    )
    path = write("README.md", "# Lamps\n\nReturn it soon.")
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
