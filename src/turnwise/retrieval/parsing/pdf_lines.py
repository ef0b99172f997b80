"""Lines of text on a page of a PDF file, with their positions. Positions are in points, upwards from the bottom.

PDFium returns the text of a page in lines. A line may run across two columns, so it is cut where the gap between two
words is wide. Only the first and the last character of every word are located, because a call for each takes about
two microseconds.
"""

import ctypes
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pypdfium2.raw as pdfium_c
from pypdfium2 import PdfTextPage

WIDE_GAP = 1.5  # font sizes; a space between words takes 0.25 to 0.5, in justified text up to 1
BROKEN_WORD = "\ufffe"  # PDFium's mark for a hyphen at the end of a line and the line break after it
SOFT_HYPHEN = "\u00ad"
_LINE = re.compile(f"[^\r\n{BROKEN_WORD}]+")
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class PdfLine:
    """A line of text, or the part of it that stands in one column.

    Attributes:
        text: the text; it ends with a soft hyphen if its last word goes on in the next line.
        left: left edge of the first character.
        right: right edge of the last character.
        baseline: height of the baseline.
        size: font size of the longest word. The first one may be a bullet or a drop cap.
    """

    text: str
    left: float
    right: float
    baseline: float
    size: float

    @property
    def width(self) -> float:
        """Width of the line in points."""
        return self.right - self.left


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    left: float
    right: float


def read_lines(text_page: PdfTextPage) -> list[PdfLine]:
    """The lines of a page in the order of PDFium, which is mostly that of the content stream."""
    text = _page_text(text_page)
    lines: list[PdfLine] = []
    for match in _LINE.finditer(text):
        words = [
            _Word(word.group(), word.start(), *_edges(text_page, word.start(), word.end() - 1))
            for word in _WORD.finditer(text, match.start(), match.end())
        ]
        if not words:
            continue
        size = _font_size(text_page, words[0].start)
        is_broken = text[match.end() : match.end() + 1] == BROKEN_WORD
        segments = list(_divide_at_gaps(words, WIDE_GAP * size))
        for index, segment in enumerate(segments):
            ending = SOFT_HYPHEN if is_broken and index == len(segments) - 1 else ""
            lines.append(
                PdfLine(
                    " ".join(word.text for word in segment) + ending,
                    segment[0].left,
                    segment[-1].right,
                    _baseline(text_page, segment[0].start),
                    _font_size(text_page, max(segment, key=lambda word: len(word.text)).start),
                )
            )
    return lines


def _page_text(text_page: PdfTextPage) -> str:
    """Text of the page with one character for each that PDFium counts, so that positions agree."""
    num_characters = text_page.count_chars()
    text = text_page.get_text_range() if num_characters > 0 else ""
    if len(text) == num_characters:
        return text
    codes = (pdfium_c.FPDFText_GetUnicode(text_page, index) for index in range(num_characters))
    return "".join(chr(code) if code <= 0x10FFFF else "\ufffd" for code in codes)


def _divide_at_gaps(words: list[_Word], widest: float) -> Iterator[list[_Word]]:
    segment = [words[0]]
    for word, following in pairwise(words):
        # A word far to the left begins another line, which PDFium has not noticed.
        if following.left - word.right > widest or following.left < word.left - widest:
            yield segment
            segment = []
        segment.append(following)
    yield segment


def _edges(text_page: PdfTextPage, first: int, last: int) -> tuple[float, float]:
    """Left edge of one character and right edge of another."""
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    pdfium_c.FPDFText_GetCharBox(text_page, first, left, right, bottom, top)
    start = left.value
    if last != first:
        pdfium_c.FPDFText_GetCharBox(text_page, last, left, right, bottom, top)
    return start, max(start, right.value)


def _baseline(text_page: PdfTextPage, index: int) -> float:
    x, y = ctypes.c_double(), ctypes.c_double()
    pdfium_c.FPDFText_GetCharOrigin(text_page, index, x, y)
    return y.value


def _font_size(text_page: PdfTextPage, index: int) -> float:
    """Font size of a character as it is drawn: many files set size 1 and scale it by the text matrix."""
    size = pdfium_c.FPDFText_GetFontSize(text_page, index)
    matrix = pdfium_c.FS_MATRIX()
    if pdfium_c.FPDFText_GetMatrix(text_page, index, matrix):
        size *= math.hypot(matrix.c, matrix.d)
    return size if math.isfinite(size) and size > 0.1 else 1.0
