"""Recognizes page headers and footers: short lines that recur at the top or the bottom of several pages."""

import re
from collections import Counter
from collections.abc import Sequence

from turnwise.retrieval.parsing.pdf_columns import TextRow

MIN_PAGES = 3
MIN_SHARE = 0.1  # of the pages that are compared; chapters have headers of their own
ROWS_AT_EDGE = 2
MAX_CHARACTERS = 150
_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b")
_Key = tuple[str, int, bool]


class RunningHeads:
    """Learns the headers and footers of a document from groups of its pages."""

    def __init__(self) -> None:
        self._repeated: set[_Key] = set()

    def learn(self, pages: Sequence[Sequence[TextRow]]) -> None:
        """Compare the pages of a group; what was learned before stays."""
        counts = Counter(key for rows in pages for key in {key for _, key in _edge_keys(rows)})
        threshold = max(MIN_PAGES, MIN_SHARE * len(pages))
        self._repeated |= {key for key, count in counts.items() if count >= threshold}

    def without(self, rows: Sequence[TextRow]) -> list[TextRow]:
        """The rows of a page without its header and footer."""
        removed = {index for index, key in _edge_keys(rows) if key in self._repeated}
        return [row for index, row in enumerate(rows) if index not in removed]


def _edge_keys(rows: Sequence[TextRow]) -> list[tuple[int, _Key]]:
    """Indexes of the uppermost and lowest rows of a page, with what they have in common with those of other pages."""
    order = sorted(range(len(rows)), key=lambda index: -rows[index].first.baseline)
    keys = []
    for indexes, is_top in ((order[:ROWS_AT_EDGE], True), (order[-ROWS_AT_EDGE:], False)):
        for index in indexes:
            text = " ".join(cell.text for cell in rows[index].cells)
            if len(text) <= MAX_CHARACTERS:
                keys.append((index, (_NUMBER.sub("#", text.lower()), round(rows[index].first.size), is_top)))
    return keys
