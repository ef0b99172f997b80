"""The blocks of a PDF file."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

import pypdfium2.raw as pdfium_c
from pypdfium2 import PdfDocument, PdfiumError

from turnwise.core.errors import InvalidData
from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource
from turnwise.retrieval.parsing.limits import MAX_PAGES
from turnwise.retrieval.parsing.pdf_columns import reading_order
from turnwise.retrieval.parsing.pdf_lines import read_lines
from turnwise.retrieval.parsing.pdf_paragraphs import ParagraphJoiner, PdfPageText, body_size, heading_key
from turnwise.retrieval.parsing.pdf_running_heads import PageRows, RunningHeads

PAGES_PER_GROUP = 50  # pages that are held in memory and compared for headers and footers
MAX_BOOKMARKS = 20_000
MAX_LISTED_PAGES = 20  # in a warning
IMAGE_DEPTH = 3  # of forms in which an image is looked for


def pdf_blocks(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:
    """Yield the blocks of all pages. Raises `InvalidData` if the file is encrypted, damaged, or has no text."""
    document = _open(source)
    try:
        if len(document) > MAX_PAGES:
            raise InvalidData(f"It has {len(document):,} pages; at most {MAX_PAGES:,} are read. Divide it.")
        notes.title = document.get_metadata_value("Title").strip()
        yield from _document_blocks(document, notes)
    finally:
        document.close()


def _open(source: DocumentSource) -> PdfDocument:
    try:
        return PdfDocument(source.path)
    except PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_PASSWORD:
            raise InvalidData("It is encrypted. Save it without a password.") from error
        if getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_SECURITY:
            raise InvalidData("It is encrypted in a way that is not supported. Save it without a password.") from error
        raise InvalidData("It is damaged: it cannot be opened as a PDF file.") from error


def _document_blocks(document: PdfDocument, notes: DocumentNotes) -> Iterator[Block]:
    bookmarks = _bookmarks(document)
    running_heads, joiner = RunningHeads(), ParagraphJoiner()
    image_pages: list[int] = []
    damaged_pages: list[int] = []
    has_text = False
    numbers = iter(range(len(document)))
    while group := list(islice(numbers, PAGES_PER_GROUP)):
        pages: list[PageRows] = []
        for index in group:
            try:
                page, has_image = _read_page(document, index)
            except PdfiumError:
                damaged_pages.append(index + 1)
                continue
            if page.rows:
                pages.append(page)
            elif has_image:
                image_pages.append(index + 1)
        has_text = has_text or bool(pages)
        running_heads.learn(pages)
        texts = [PdfPageText(page.number, running_heads.without(page), bookmarks[page.number]) for page in pages]
        size = body_size(texts)
        for text in texts:
            yield from joiner.blocks(text, size)
    yield from joiner.finish()
    if damaged_pages:
        notes.warn(_page_warning(damaged_pages, "is damaged", "are damaged"))
    if not has_text:
        advice = "Recognize its text first (OCR)." if image_pages else "All of its pages are empty."
        raise InvalidData(f"It has no text{', only images' if image_pages else ''}. {advice}")
    if image_pages:
        notes.warn(_page_warning(image_pages, "is an image without text", "are images without text"))


def _read_page(document: PdfDocument, index: int) -> tuple[PageRows, bool]:
    """Rows of a page, and whether it has an image if it has no rows."""
    page = document[index]
    try:
        text_page = page.get_textpage()
        try:
            rows = reading_order(read_lines(text_page))
        finally:
            text_page.close()
        images = () if rows else page.get_objects(filter=[pdfium_c.FPDF_PAGEOBJ_IMAGE], max_depth=IMAGE_DEPTH)
        return PageRows(index + 1, rows, page.get_height()), next(iter(images), None) is not None
    finally:
        page.close()


def _bookmarks(document: PdfDocument) -> defaultdict[int, dict[str, int]]:
    """Levels of the headings that the outline names, by page number and text."""
    levels: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for bookmark in islice(document.get_toc(max_depth=6), MAX_BOOKMARKS):
        destination = bookmark.get_dest()
        index = destination.get_index() if destination else None
        if index is not None and (key := heading_key(bookmark.get_title())):
            levels[index + 1][key] = min(6, bookmark.level + 1)
    return levels


def _page_warning(numbers: list[int], singular: str, plural: str) -> str:
    """Such as "Page 3 is an image without text."."""
    if len(numbers) == 1:
        return f"Page {numbers[0]} {singular}."
    listed = ", ".join(map(str, numbers[:MAX_LISTED_PAGES]))
    rest = f" and {len(numbers) - MAX_LISTED_PAGES:,} more" if len(numbers) > MAX_LISTED_PAGES else ""
    return f"Pages {listed}{rest} {plural}."
