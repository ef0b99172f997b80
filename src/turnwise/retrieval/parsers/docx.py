"""DOCX: documents of Word and other office programs, without hidden text, comments and deleted text."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree
from zipfile import ZIP_STORED, ZipFile

from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.archive_checks import check_archive, has_entry
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource
from turnwise.retrieval.parsing.limits import check_tree_size
from turnwise.retrieval.parsing.signatures import ZIP_MARK

MAIN_ENTRY = "word/document.xml"
PROPERTIES_ENTRY = "docProps/core.xml"
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
# The default map of mammoth has the headings of English files. Word translates the names, not the styles' identities.
_STYLES = "\n".join((
    "p[style-name='Title'] => h1:fresh",
    "p[style-name='标题'] => h1:fresh",
    *(f"p[style-name='标题 {level}'] => h{level}:fresh" for level in range(1, 7)),
    "p[style-name='HTML Preformatted'] => pre:separator('\\n')",
))  # fmt: skip


def detect(source: DocumentSource) -> float:
    """Certain for an archive with the main part of a Word document."""
    return 1.0 if source.head.startswith(ZIP_MARK) and has_entry(source.path, MAIN_ENTRY) else 0.0


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:
    """Yield the blocks of the document, and its notes last."""
    import mammoth

    from turnwise.retrieval.parsing.html_blocks import html_blocks, parse_html

    check_archive(source.path)
    with ZipFile(source.path) as archive:
        check_tree_size(archive.getinfo(MAIN_ENTRY).file_size)
        notes.title = _title(archive)
    with _without_hidden_text(source.path) as file:
        html = mammoth.convert_to_html(
            file,
            style_map=_STYLES,
            include_embedded_style_map=False,
            external_file_access=False,
            convert_image=lambda _: [],
        ).value
    yield from html_blocks(parse_html(html))


def _title(archive: ZipFile) -> str:
    """Title in the properties of the document; empty if it has none."""
    if PROPERTIES_ENTRY not in archive.NameToInfo:
        return ""
    # S314: `check_archive` has refused entities, and expat does not read external ones.
    text = ElementTree.fromstring(archive.read(PROPERTIES_ENTRY)).findtext(_TITLE)  # noqa: S314
    return (text or "").strip()


def _without_hidden_text(path: Path) -> BinaryIO:
    """The file, or a copy in memory without the runs that are marked as hidden, which mammoth would read."""
    with ZipFile(path) as archive:
        xml = archive.read(MAIN_ENTRY)
        if b"vanish" not in xml:
            return path.open("rb")
        root = ElementTree.fromstring(xml)  # noqa: S314, as in `_title`
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag == f"{_WORD}r" and _is_hidden(child):
                    parent.remove(child)
        copy = io.BytesIO()
        with ZipFile(copy, "w", ZIP_STORED) as target:
            for entry in archive.infolist():
                content = ElementTree.tostring(root) if entry.filename == MAIN_ENTRY else archive.read(entry)
                target.writestr(entry.filename, content)
    copy.seek(0)
    return copy


def _is_hidden(run: ElementTree.Element) -> bool:
    mark = run.find(f"{_WORD}rPr/{_WORD}vanish")
    return mark is not None and mark.get(f"{_WORD}val", "true").lower() not in ("0", "false", "off")
