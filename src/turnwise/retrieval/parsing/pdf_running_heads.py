"""Recognizes page headers and footers: short lines that recur in the upper or lower margin of several pages."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.retrieval.parsing.pdf_columns import TextRow

MIN_PAGES = 3  # of the 50 that are compared; chapters and sections have headers of their own
MARGIN = 0.08  # of the page height; text has margins of an inch, 9 % of a page, and headers stand in them
OUTERMOST_MARGIN = 0.13  # for the uppermost and the lowest row, where headers stand lower
MAX_CHARACTERS = 150
_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b")
_Key = tuple[str, int, bool]


@dataclass(frozen=True, slots=True)
class PageRows:
    """Rows of a page in reading order, the number of the page, and its height in points."""

    number: int
    rows: Sequence[TextRow]
    height: float


class RunningHeads:
    """Learns the headers and footers of a document from groups of its pages."""

    def __init__(self) -> None:
        self._repeated: set[_Key] = set()

    def learn(self, pages: Sequence[PageRows]) -> None:
        """Compare the pages of a group; what was learned before stays."""
        counts = Counter(key for page in pages for key in set(_margin_keys(page)) if key is not None)
        self._repeated |= {key for key, count in counts.items() if count >= MIN_PAGES}

    def without(self, page: PageRows) -> list[TextRow]:
        """The rows of a page without its header and footer."""
        return [row for row, key in zip(page.rows, _margin_keys(page), strict=True) if key not in self._repeated]


def _margin_keys(page: PageRows) -> list[_Key | None]:
    """For every row in a margin, what it has in common with those of other pages; None for the other rows."""
    keys: list[_Key | None] = []
    baselines = [row.first.baseline for row in page.rows]
    outermost = (max(baselines, default=0), min(baselines, default=0))
    for row, baseline in zip(page.rows, baselines, strict=True):
        margin = page.height * (OUTERMOST_MARGIN if baseline in outermost else MARGIN)
        is_top = baseline > page.height - margin
        text = " ".join(cell.text for cell in row.cells)
        if len(text) <= MAX_CHARACTERS and (is_top or baseline < margin):
            keys.append((_NUMBER.sub("#", text.lower()), round(row.first.size), is_top))
        else:
            keys.append(None)
    return keys
