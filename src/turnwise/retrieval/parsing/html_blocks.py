"""Blocks of an HTML page: what its readers see, without scripts, navigation and hidden elements."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from turnwise.core.errors import InvalidData
from turnwise.retrieval.parsed_document import Block, BlockKind
from turnwise.retrieval.parsing.hidden_elements import hidden_by_style_sheets, is_skipped
from turnwise.retrieval.parsing.html_tables import html_table_blocks
from turnwise.retrieval.parsing.limits import MAX_NESTING
from turnwise.retrieval.parsing.line_joins import join_wrapped_lines
from turnwise.retrieval.parsing.table_rows import collapse_space

MAX_OPEN_TAGS = 4000
_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)")
_ENDS_ITSELF = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "p", "li",
    "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "colgroup", "option", "optgroup", "rp", "rt", "html",
    "head", "body",
})  # fmt: skip
_HEADING = re.compile(r"h([1-6])")
_BLOCK_TAGS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header",
    "hgroup", "hr", "html", "legend", "li", "main", "ol", "optgroup", "option", "p", "pre", "section", "summary",
    "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})  # fmt: skip
_LINE_FEED = "\0"  # stands for <br> until white space is collapsed; HTML parsers replace NUL, so no text has it


@dataclass(slots=True)
class _TextBuffer:
    """Text of the block that is being read."""

    pieces: list[str] = field(default_factory=list)

    def take(self, is_code: bool) -> str:
        """Return the text with its white space as a browser shows it, and start anew."""
        text = "".join(self.pieces)
        self.pieces = []
        if is_code:
            return text.replace(_LINE_FEED, "\n").strip("\n").rstrip()
        return "\n".join(collapse_space(join_wrapped_lines(line)) for line in text.split(_LINE_FEED)).strip()


def parse_html(html: str) -> LexborHTMLParser:
    """The tree of a page or fragment.

    Raises:
        InvalidData: tags are nested so deeply that the tree would take minutes: its time is quadratic in the depth.
    """
    if html.count("<") > MAX_OPEN_TAGS and _num_open_tags(html) > MAX_OPEN_TAGS:
        raise InvalidData(f"Its elements are nested more than {MAX_NESTING} deep.")
    return LexborHTMLParser(html)


def _num_open_tags(html: str) -> int:
    """The largest number of elements that are open at once, without those that need no end tag."""
    num_open = largest = 0
    for match in _TAG.finditer(html):
        if match[2].lower() not in _ENDS_ITSELF:
            num_open = max(0, num_open - 1) if match[1] else num_open + 1
            largest = max(largest, num_open)
    return largest


def page_title(tree: LexborHTMLParser) -> str:
    """Text of the title element; empty if there is none."""
    node = tree.css_first("head > title")
    return collapse_space(node.text(deep=True)) if node is not None else ""


def html_blocks(tree: LexborHTMLParser) -> Iterator[Block]:
    """Yield the blocks of a page in the order of its text.

    Raises:
        InvalidData: elements are nested more than `MAX_NESTING` deep.
    """
    if tree.root is not None:
        yield from _BlockReader(hidden_by_style_sheets(tree)).blocks(tree.root)


class _BlockReader:
    """Walks a tree without recursion, because its depth is up to the author of the page."""

    def __init__(self, hidden: frozenset[int]) -> None:
        self._hidden = hidden
        self._buffer = _TextBuffer()
        self._contexts: list[tuple[BlockKind, int]] = [("paragraph", 0)]  # kinds of the open elements, with the level
        self._list_numbers: list[int | None] = []  # next number of every open list; None: bullets
        self._item_mark = ""

    def blocks(self, root: LexborNode) -> Iterator[Block]:
        """Yield the blocks below a node."""
        stack: list[tuple[LexborNode, bool]] = [(root, False)]  # an element, and whether all below it is read
        depth = 0
        while stack:
            node, is_end = stack.pop()
            if is_end:
                depth -= 1
                yield from self._leave(node)
                continue
            if (following := node.next) is not None and depth > 0:
                stack.append((following, False))
            if node.is_text_node:
                self._buffer.pieces.append(node.text_content or "")
            elif node.is_element_node and not is_skipped(node, self._hidden):
                if node.tag == "table" and not _is_layout(node):
                    yield from self._flush()
                    yield from html_table_blocks(node, self._cell_text)
                    continue
                depth += 1
                if depth > MAX_NESTING:
                    raise InvalidData(f"Its elements are nested more than {MAX_NESTING} deep.")
                yield from self._enter(node)
                stack.append((node, True))
                if (child := node.child) is not None:
                    stack.append((child, False))
        yield from self._flush()

    def _enter(self, node: LexborNode) -> Iterator[Block]:
        tag = node.tag or ""
        if tag == "br":
            self._buffer.pieces.append(_LINE_FEED)
        if tag not in _BLOCK_TAGS:
            return
        if tag != "dd" or not self._buffer.pieces:
            yield from self._flush()
        if tag in ("ul", "ol"):
            start = (node.attributes.get("start") or "1").strip()
            number = int(start) if start.isascii() and start.isdigit() and len(start) < 9 else 1
            self._list_numbers.append(number if tag == "ol" else None)
        if tag == "li":
            following = self._list_numbers[-1] if self._list_numbers else None
            self._item_mark = ""
            if following is not None:
                self._item_mark = f"{following}. "
                self._list_numbers[-1] = following + 1
        self._contexts.append(self._context(tag))

    def _context(self, tag: str) -> tuple[BlockKind, int]:
        """Kind and level of the text in an element."""
        if match := _HEADING.fullmatch(tag):
            return "heading", int(match[1])
        if tag == "pre":
            return "code", 0
        if tag in ("li", "dt", "dd"):
            return "list_item", 0
        kind, level = self._contexts[-1]
        return (kind, level) if kind != "paragraph" else ("paragraph", 0)

    def _leave(self, node: LexborNode) -> Iterator[Block]:
        tag = node.tag or ""
        if tag not in _BLOCK_TAGS:
            return
        if tag == "dt":  # its definition follows in the same block: "Term: definition"
            term = self._buffer.take(is_code=False)
            self._contexts.pop()
            self._buffer.pieces = [f"{term.rstrip(':：')}: "] if term else []
            return
        yield from self._flush()
        self._contexts.pop()
        if tag in ("ul", "ol"):
            self._list_numbers.pop()

    def _flush(self) -> Iterator[Block]:
        kind, level = self._contexts[-1]
        text = self._buffer.take(is_code=kind == "code")
        if not text:
            return
        if kind == "list_item":
            text, self._item_mark = self._item_mark + text, ""
        elif kind == "heading":
            text = collapse_space(text)
        yield Block(kind, text, level)

    def _cell_text(self, cell: LexborNode) -> str:
        """Text of a table cell on one line."""
        blocks = _BlockReader(self._hidden).blocks(cell) if not is_skipped(cell, self._hidden) else ()
        return collapse_space(" ".join(block.text for block in blocks))


def _is_layout(table: LexborNode) -> bool:
    """True for a table that arranges a page: it says so, or it has other tables in it and no header cells."""
    if (table.attributes.get("role") or "").strip().lower() in ("presentation", "none"):
        return True
    has_tables = any(inner.mem_id != table.mem_id for inner in table.css("table"))
    return has_tables and table.css_first("th") is None
