"""Where a text can be cut: after sentences, lines and cells of tables, else between characters."""

import re
import unicodedata
from collections.abc import Callable, Iterator

from turnwise.retrieval.parsing.table_rows import CELL_SEPARATOR

Span = tuple[int, int]
# The end of a sentence: a mark with the quotes and brackets after it. A Latin mark needs white space after it, and no
# abbreviation before it; a Chinese one stands alone.
_SENTENCE_END = re.compile(
    r"""(?<!\b[A-Z])(?<!\b(?:Mr|Dr|St|No|vs))(?<!\b(?:Mrs|e\.g|i\.e|Fig|etc))[.!?…]+["'”’»)\]]*(?=\s)"""
    r"""|[。！？；…]+["'”’」』）)\]]*|\n\s*\n"""
)
_LINE_END = re.compile(r"\n+")
_CELL_END = re.compile(re.escape(CELL_SEPARATOR))
_BREAK = re.compile(r"[\s,，、;；:：)）\]】}]")  # after one of them a sentence that is too long is cut
_JOINER = "\u200d"
_VIRAMA = 9  # combining class of the mark that joins two consonants of an Indic script
_SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")
MAX_CHARACTERS_PER_TOKEN = 24  # of the window in which a cut is looked for


def sentence_spans(text: str) -> Iterator[Span]:
    """Yield start and end of the sentences, without white space around them. An empty line ends a sentence, too."""
    return _spans(text, _SENTENCE_END)


def line_spans(text: str) -> Iterator[Span]:
    """Yield start and end of the lines that are not empty, without white space around them."""
    return _spans(text, _LINE_END)


def cell_spans(text: str) -> Iterator[Span]:
    """Yield start and end of the cells of a table row; the separator belongs to the cell before it."""
    return _spans(text, _CELL_END)


def window_spans(
    text: str, start: int, end: int, max_tokens: float, count_tokens: Callable[[str], float]
) -> Iterator[Span]:
    """Cut `text[start:end]` into spans of at most `max_tokens`: between lines, else words, else characters."""
    while start < end:
        if text[start].isspace():
            start += 1
            continue
        stop = _longest(text, start, end, max_tokens, count_tokens)
        if stop < end:
            middle = start + (stop - start) // 2
            line_end = text.rfind("\n", middle, stop)
            breaks = [line_end] if line_end > 0 else [match.end() for match in _BREAK.finditer(text, middle, stop)]
            stop = breaks[-1] if breaks else character_boundary(text, stop, start + 1)
        yield start, start + len(text[start:stop].rstrip())
        start = stop


def character_boundary(text: str, position: int, minimum: int) -> int:
    """The nearest position up to `position` that does not divide a letter from its marks, or an emoji.

    Returns `position` itself if there is none from `minimum` on: nobody reads so many marks as one letter.
    """
    for candidate in range(position, minimum - 1, -1):
        if candidate >= len(text) or not _is_inside_character(text, candidate):
            return candidate
    return position


def _is_inside_character(text: str, position: int) -> bool:
    before, after = text[position - 1], text[position]
    return (
        unicodedata.category(after).startswith("M")
        or _JOINER in (before, after)
        or unicodedata.combining(before) == _VIRAMA
        or _SKIN_TONES[0] <= after <= _SKIN_TONES[1]
        or (_is_regional_indicator(after) and _num_indicators_before(text, position) % 2 == 1)
    )


def _is_regional_indicator(character: str) -> bool:
    """True for a half of a flag."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _num_indicators_before(text: str, position: int) -> int:
    start = position
    while start > 0 and _is_regional_indicator(text[start - 1]):
        start -= 1
    return position - start


def _spans(text: str, boundary: re.Pattern[str]) -> Iterator[Span]:
    start = 0
    for match in boundary.finditer(text):
        yield from _stripped(text, start, match.end())
        start = match.end()
    yield from _stripped(text, start, len(text))


def _stripped(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the span without white space around it; nothing if it has only white space."""
    piece = text[start:end]
    if stripped := piece.strip():
        first = start + len(piece) - len(piece.lstrip())
        yield first, first + len(stripped)


def _longest(text: str, start: int, end: int, max_tokens: float, count_tokens: Callable[[str], float]) -> int:
    """The last position up to which the text has at most `max_tokens`; at least one character after `start`."""
    low, high = start + 1, min(end, start + int(MAX_CHARACTERS_PER_TOKEN * max_tokens))
    if count_tokens(text[start:high]) <= max_tokens:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if count_tokens(text[start:middle]) <= max_tokens:
            low = middle
        else:
            high = middle
    return low
