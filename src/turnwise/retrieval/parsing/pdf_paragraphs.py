"""Joins the rows of PDF pages to paragraphs, headings, list items and rows of tables."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from turnwise.retrieval.parsed_document import Block, BlockKind
from turnwise.retrieval.parsing.line_joins import join_lines
from turnwise.retrieval.parsing.pdf_columns import TextRow
from turnwise.retrieval.parsing.table_rows import CELL_SEPARATOR

HEADING_RATIO = 1.15  # of the font size to that of the text
LEVEL_RATIOS = (1.7, 1.35)  # of levels 1 and 2; smaller headings have level 3
MAX_HEADING_SHARE = 0.25  # of the characters; if more are large, the size does not tell headings
MAX_HEADING_CHARACTERS = 200
HEADING_TOLERANCE = 0.08  # difference of the font sizes of the lines of a heading
TEXT_TOLERANCE = 0.22  # of a paragraph; words in a typewriter font are smaller
_ENDS_SENTENCE = re.compile(r"""[.!?。！？…:：;；]["'”’»)\]）』」]*\Z""")
_BULLET = re.compile(r"(?:[•‣◦▪●○■–—*·]|\(?\d{1,3}[.)]|\(?[a-z][.)]|[（(][一二三四五六七八九十]{1,3}[)）])\s+(?=\S)")
_ONLY_BULLET = re.compile(r"[•‣◦▪●○■–—*·]")


@dataclass(frozen=True, slots=True)
class PdfPageText:
    """Rows of a page in reading order, and its bookmarks: levels of headings by their text, as `heading_key` has it."""

    number: int
    rows: Sequence[TextRow]
    bookmarks: Mapping[str, int]


@dataclass(slots=True)
class _Paragraph:
    kind: BlockKind
    text: str
    page: int
    level: int
    last: TextRow  # the last row that was joined


def heading_key(text: str) -> str:
    """A heading without white space and case, to compare bookmarks with lines."""
    return "".join(text.split()).casefold()


def body_size(pages: Sequence[PdfPageText]) -> float | None:
    """Font size of the text, in half points; None if headings cannot be told by their size."""
    counts: Counter[float] = Counter()
    for page in pages:
        for row in page.rows:
            for cell in row.cells:
                counts[round(2 * cell.size) / 2] += len(cell.text)
    if not counts:
        return None
    size = counts.most_common(1)[0][0]
    num_large = sum(count for other_size, count in counts.items() if other_size >= HEADING_RATIO * size)
    return size if num_large <= MAX_HEADING_SHARE * counts.total() else None


class ParagraphJoiner:
    """Joins rows of page after page. A paragraph may go on in the next column or on the next page."""

    def __init__(self) -> None:
        self._paragraph: _Paragraph | None = None

    def blocks(self, page: PdfPageText, size: float | None) -> Iterator[Block]:
        """Yield the blocks that are complete at the end of a page.

        Args:
            page: the page.
            size: font size of the text, as `body_size` returns it.
        """
        leading = _typical_leading(page.rows)
        for row in page.rows:
            kind, level = _classify(row, page.bookmarks, size)
            text = CELL_SEPARATOR.join(cell.text for cell in row.cells)
            paragraph = self._paragraph
            if paragraph is not None and _continues(paragraph, row, kind, page.number, leading):
                paragraph.text, paragraph.last = join_lines(paragraph.text, text), row
                continue
            yield from self.finish()
            self._paragraph = _Paragraph(kind, text, page.number, level, row)

    def finish(self) -> Iterator[Block]:
        """Yield the last block."""
        if self._paragraph is not None:
            paragraph, self._paragraph = self._paragraph, None
            yield Block(paragraph.kind, paragraph.text.replace("\u00ad", ""), paragraph.level, paragraph.page)


def _classify(row: TextRow, bookmarks: Mapping[str, int], size: float | None) -> tuple[BlockKind, int]:
    """Kind of block that a row begins, if it does not go on with the one before, and the level of a heading."""
    text = " ".join(cell.text for cell in row.cells)
    if level := bookmarks.get(heading_key(text), 0):
        return "heading", level
    ratio = row.first.size / size if size else 0.0
    if ratio >= HEADING_RATIO and len(text) <= MAX_HEADING_CHARACTERS:
        return "heading", 1 + sum(ratio < minimum for minimum in LEVEL_RATIOS)
    if len(row.cells) > 1:
        is_item = len(row.cells) == 2 and (
            _ONLY_BULLET.fullmatch(row.first.text) or _BULLET.match(f"{row.first.text} x")
        )
        return ("list_item" if is_item else "table_row"), 0
    return ("list_item" if _BULLET.match(text) else "paragraph"), 0


def _typical_leading(rows: Sequence[TextRow]) -> float:
    """Median distance of the baselines of neighbouring rows; infinite if there are none."""
    distances = [
        first.first.baseline - second.first.baseline
        for first, second in pairwise(rows)
        if first.column == second.column
    ]
    return median(distances) if distances else float("inf")


def _continues(paragraph: _Paragraph, row: TextRow, kind: BlockKind, page: int, leading: float) -> bool:
    """True if a row goes on with a paragraph."""
    last, first = paragraph.last.first, row.first
    tolerance = HEADING_TOLERANCE if "heading" in (kind, paragraph.kind) else TEXT_TOLERANCE
    is_same_size = abs(last.size - first.size) <= tolerance * max(last.size, first.size)
    is_same_column = paragraph.page == page and paragraph.last.column == row.column
    if not is_same_size or "table_row" in (kind, paragraph.kind):
        return False
    distance = last.baseline - first.baseline
    if paragraph.kind == "heading" or kind == "heading":
        is_short = len(paragraph.text) + len(first.text) < MAX_HEADING_CHARACTERS
        return kind == paragraph.kind and is_same_column and distance < 1.6 * first.size and is_short
    if kind == "list_item":
        return False
    line_end = paragraph.last.cells[-1].right
    is_full = line_end >= paragraph.last.right - 0.2 * (paragraph.last.right - paragraph.last.left)
    ends_sentence = _ENDS_SENTENCE.search(paragraph.text) is not None
    if not is_same_column:
        return not ends_sentence and is_full
    if distance > max(1.3 * leading, 1.5 * first.size) or distance > 2.5 * first.size:
        return False
    if paragraph.kind == "list_item":
        begins_item = _BULLET.match(f"{paragraph.last.first.text} x") is not None
        indent = first.left - last.left
        is_hanging = indent > 0.5 * first.size if begins_item else abs(indent) < 0.5 * first.size
        return is_hanging or (is_full and not ends_sentence)
    is_indented = first.left > row.left + 0.8 * first.size and last.left <= first.left - 0.8 * first.size
    return not is_indented and (is_full or not ends_sentence)
