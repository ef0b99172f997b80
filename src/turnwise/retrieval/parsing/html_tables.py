"""Tables of an HTML tree as rows that name their columns."""

from collections.abc import Callable, Iterator

from selectolax.lexbor import LexborNode

from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.table_rows import format_row, table_blocks

MAX_SPAN = 100  # of a cell over columns or rows
_SECTIONS = frozenset({"thead", "tbody", "tfoot"})


def html_table_blocks(table: LexborNode, cell_text: Callable[[LexborNode], str]) -> Iterator[Block]:
    """Yield the caption and the rows of a table.

    The first row names the columns if it is marked as a header or can be one (`is_header`). In a table without such a
    row, a header cell at the beginning of a row names the row: "Weight: 12 kg".

    Args:
        table: a table element.
        cell_text: text of a cell, without what is hidden in it.
    """
    yield from (Block("paragraph", cell_text(caption)) for caption in _children(table, {"caption"}))
    rows = _spanned_rows(table, cell_text)
    first = next(rows, None)
    if first is None:
        return
    is_marked, names_row, texts = first
    if is_marked:
        has_rows = False
        for _, _, cells in rows:
            has_rows = True
            yield Block("table_row", format_row(texts, cells))
        if not has_rows:
            yield Block("table_row", format_row((), texts))
    elif names_row:
        yield Block("table_row", _named_row(texts))
        for _, names_next, cells in rows:
            yield Block("table_row", _named_row(cells) if names_next else format_row((), cells))
    else:
        yield from table_blocks([texts, *(cells for _, _, cells in rows)])


def _named_row(cells: list[str]) -> str:
    return format_row((cells[0],), (format_row((), cells[1:]),)) or cells[0]


def _spanned_rows(table: LexborNode, cell_text: Callable[[LexborNode], str]) -> Iterator[tuple[bool, bool, list[str]]]:
    """Yield the rows with cells repeated over the columns and rows that they span.

    With every row: whether all its cells are header cells, and whether only the first one is.
    """
    spanned: dict[int, tuple[int, str]] = {}  # of a column: number of further rows that a cell spans, and its text
    for row in _rows(table):
        cells: list[str] = []
        tags: list[str | None] = []
        for cell in _children(row, {"td", "th"}):
            _add_spanned(cells, spanned)
            text = cell_text(cell)
            num_rows = _span(cell, "rowspan")
            tags.append(cell.tag)
            for _ in range(_span(cell, "colspan")):
                if num_rows > 1:
                    spanned[len(cells)] = num_rows - 1, text
                cells.append(text)
        _add_spanned(cells, spanned)
        is_head = row.parent is not None and row.parent.tag == "thead"
        is_marked = bool(tags) and (is_head or (len(tags) > 1 and all(tag == "th" for tag in tags)))
        names_row = len(tags) > 1 and tags[0] == "th" and "th" not in tags[1:]
        if any(cells):
            yield is_marked, names_row, cells


def _add_spanned(cells: list[str], spanned: dict[int, tuple[int, str]]) -> None:
    """Append the cells of earlier rows that span the next columns."""
    while (entry := spanned.pop(len(cells), None)) is not None:
        num_rows, text = entry
        if num_rows > 1:
            spanned[len(cells)] = num_rows - 1, text
        cells.append(text)


def _rows(table: LexborNode) -> Iterator[LexborNode]:
    for child in _children(table, {*_SECTIONS, "tr"}):
        if child.tag == "tr":
            yield child
        else:
            yield from _children(child, {"tr"})


def _children(node: LexborNode, tags: set[str]) -> Iterator[LexborNode]:
    child = node.child
    while child is not None:
        if child.tag in tags:
            yield child
        child = child.next


def _span(cell: LexborNode, attribute: str) -> int:
    value = (cell.attributes.get(attribute) or "").strip()
    return min(max(1, int(value)), MAX_SPAN) if value.isascii() and value.isdigit() and len(value) < 9 else 1
