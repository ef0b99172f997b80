"""Reading order of the lines of a page: columns from left to right, lines across all columns between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from turnwise.retrieval.parsing.pdf_lines import PdfLine

MIN_COLUMN_LINES = 4
MIN_COLUMN_WIDTH = 0.25  # median of the lines of a column, as a share of the text's width; cells of tables are narrower
MIN_SHARED_HEIGHT = 0.3  # of the lower column, beside the other
GUTTER_STEP = 4.0  # points between the positions that are tried
MAX_DEPTH = 3  # of divisions: up to eight columns
_SAME_BASELINE = 0.4  # font sizes


@dataclass(frozen=True, slots=True)
class TextRow:
    """What stands on one baseline of a column: a line, or several cells of a table.

    Attributes:
        cells: the lines, from left to right.
        column: number of the column on the page, in reading order; a column that is interrupted by a line across all
            columns has another number below it.
        left: left edge of the column.
        right: right edge of the column.
    """

    cells: tuple[PdfLine, ...]
    column: int
    left: float
    right: float

    @property
    def first(self) -> PdfLine:
        """The leftmost line."""
        return self.cells[0]


def reading_order(lines: Sequence[PdfLine]) -> list[TextRow]:
    """The rows of a page in the order in which they are read."""
    rows: list[TextRow] = []
    for column, column_lines in enumerate(_columns(lines, 0)):
        left = min(line.left for line in column_lines)
        right = max(line.right for line in column_lines)
        rows += [TextRow(tuple(cells), column, left, right) for cells in _baselines(column_lines)]
    return rows


def _columns(lines: Sequence[PdfLine], depth: int) -> Iterator[list[PdfLine]]:
    """Divide lines into columns, or parts of columns between lines across all of them, in reading order."""
    gutter = _find_gutter(lines) if depth < MAX_DEPTH else None
    if gutter is None:
        if lines:
            yield list(lines)
        return
    left: list[PdfLine] = []
    right: list[PdfLine] = []
    across: list[PdfLine] = []
    for line in sorted(lines, key=lambda line: -line.baseline):
        if line.right <= gutter or line.left >= gutter:
            if across:
                yield across
                across = []
            (left if line.right <= gutter else right).append(line)
        else:
            yield from _columns(left, depth + 1)
            yield from _columns(right, depth + 1)
            left, right = [], []
            across.append(line)
    yield from _columns(left, depth + 1)
    yield from _columns(right, depth + 1)
    if across:
        yield across


def _find_gutter(lines: Sequence[PdfLine]) -> float | None:
    """A position between two columns that the fewest lines cross; None if the lines form one column."""
    if len(lines) < 2 * MIN_COLUMN_LINES:
        return None
    start = min(line.left for line in lines)
    width = max(line.right for line in lines) - start
    candidates = {round(line.left / GUTTER_STEP) for line in lines if 0.2 < (line.left - start) / max(width, 1) < 0.8}
    best: tuple[int, float] | None = None
    for candidate in sorted(candidates):
        gutter = (candidate - 0.5) * GUTTER_STEP - 0.5
        left = [line for line in lines if line.right <= gutter]
        right = [line for line in lines if line.left >= gutter]
        num_crossing = len(lines) - len(left) - len(right)
        is_better = best is None or num_crossing < best[0]
        if is_better and num_crossing <= min(len(left), len(right)) and _are_columns(left, right, width):
            best = num_crossing, gutter
    return best[1] if best else None


def _are_columns(left: Sequence[PdfLine], right: Sequence[PdfLine], width: float) -> bool:
    """True if the lines on both sides are many, wide, and beside each other."""
    for column in (left, right):
        if len(column) < MIN_COLUMN_LINES or median(line.width for line in column) < MIN_COLUMN_WIDTH * width:
            return False
    tops = [max(line.baseline for line in column) for column in (left, right)]
    bottoms = [min(line.baseline for line in column) for column in (left, right)]
    shared = min(tops) - max(bottoms)
    height = min(top - bottom for top, bottom in zip(tops, bottoms, strict=True))
    return shared >= MIN_SHARED_HEIGHT * height


def _baselines(lines: Sequence[PdfLine]) -> Iterator[list[PdfLine]]:
    """Group the lines of a column by their baseline, from top to bottom."""
    cells: list[PdfLine] = []
    for line in sorted(lines, key=lambda line: -line.baseline):
        if cells and cells[0].baseline - line.baseline > _SAME_BASELINE * min(cells[0].size, line.size):
            yield sorted(cells, key=lambda cell: cell.left)
            cells = []
        cells.append(line)
    if cells:
        yield sorted(cells, key=lambda cell: cell.left)
