"""Blocks of a Markdown text."""

import re
from collections.abc import Iterator, Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from turnwise.core.errors import InvalidData
from turnwise.retrieval.parsed_document import Block, BlockKind
from turnwise.retrieval.parsing.line_joins import join_wrapped_lines
from turnwise.retrieval.parsing.table_rows import collapse_space, format_row

# markdown-it silently drops what is nested deeper than its limit. Its parser is recursive, so the limit is low.
MAX_NESTING = 60
# Tags after which an HTML parser takes all that follows as raw text. In Markdown they are mostly words.
_RAW_TEXT_TAG = re.compile(
    r"<(?=/?(?:title|textarea|style|xmp|iframe|noembed|noframes|script|plaintext|select|noscript)\b)", re.IGNORECASE
)


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"maxNesting": MAX_NESTING + 5}).enable(["table", "strikethrough"])


def markdown_blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a text. Raises `InvalidData` if it is nested too deeply."""
    tokens = _parser().parse(text)
    if any(token.level > MAX_NESTING for token in tokens):
        raise InvalidData(f"Its lists or quotes are nested more than {MAX_NESTING} deep.")
    yield from _BlockReader().blocks(tokens)


def _raw_html_blocks(html: str) -> Iterator[Block]:
    """The blocks of raw HTML in a text. Most texts have none, and need no parser of HTML."""
    from turnwise.retrieval.parsing.html_blocks import html_blocks, parse_html

    yield from html_blocks(parse_html(html))


class _BlockReader:
    """Turns the tokens of a text into blocks."""

    def __init__(self) -> None:
        self._list_numbers: list[int | None] = []  # next number of every open list; None: bullets
        self._item_depth = 0
        self._item_mark = ""
        self._heading_level = 0
        self._header: list[str] = []
        self._cells: list[str] = []
        self._in_table, self._in_head, self._has_rows = False, False, False

    def blocks(self, tokens: Sequence[Token]) -> Iterator[Block]:
        """Yield the blocks of a sequence of block tokens."""
        for token in tokens:
            match token.type:
                case "heading_open":
                    self._heading_level = int(token.tag[1:])
                case "heading_close":
                    self._heading_level = 0
                case "bullet_list_open":
                    self._list_numbers.append(None)
                case "ordered_list_open":
                    self._list_numbers.append(int(token.attrs.get("start", 1)))
                case "bullet_list_close" | "ordered_list_close":
                    self._list_numbers.pop()
                case "list_item_open":
                    self._open_item()
                case "list_item_close":
                    self._item_depth -= 1
                case "inline" if self._in_table:
                    self._cells.append(collapse_space(inline_text(token)))
                case "inline":
                    yield self._text_block(inline_text(token))
                case "fence" | "code_block":
                    yield Block("code", token.content.strip("\n").rstrip())
                case "html_block":
                    yield from _raw_html_blocks(token.content)
                case _:
                    yield from self._table_row(token.type)

    def _open_item(self) -> None:
        self._item_depth += 1
        number = self._list_numbers[-1]
        self._item_mark = ""
        if number is not None:
            self._item_mark = f"{number}. "
            self._list_numbers[-1] = number + 1

    def _text_block(self, text: str) -> Block:
        if self._heading_level:
            return Block("heading", collapse_space(text), self._heading_level)
        kind: BlockKind = "list_item" if self._item_depth else "paragraph"
        text, self._item_mark = self._item_mark + text if text else "", ""
        return Block(kind, text)

    def _table_row(self, token_type: str) -> Iterator[Block]:
        match token_type:
            case "table_open":
                self._in_table, self._header, self._has_rows = True, [], False
            case "table_close":
                self._in_table = False
                if not self._has_rows:
                    yield Block("table_row", format_row((), self._header))
            case "thead_open":
                self._in_head = True
            case "thead_close":
                self._in_head = False
            case "tr_open":
                self._cells = []
            case "tr_close" if self._in_head:
                self._header = self._cells
            case "tr_close":
                self._has_rows = True
                yield Block("table_row", format_row(self._header, self._cells))


def inline_text(token: Token) -> str:
    """Text of a paragraph, heading or cell as a reader sees it, without the marks of Markdown."""
    children = token.children or []
    if any(child.type == "html_inline" and not _RAW_TEXT_TAG.match(child.content) for child in children):
        html = "".join(_inline_html(child) for child in children)
        return "\n".join(block.text for block in _raw_html_blocks(f"<p>{html}"))
    text = "".join(_inline_piece(child) for child in children)
    return "\n".join(line.strip() for line in join_wrapped_lines(text).replace("\n", " ").split("\0"))


def _inline_piece(token: Token) -> str:
    match token.type:
        case "softbreak":
            return "\n"
        case "hardbreak":
            return "\0"
        case "image":
            return "".join(_inline_piece(child) for child in token.children or [])
        case _:
            return token.content


def _inline_html(token: Token) -> str:
    if token.type == "html_inline" and not _RAW_TEXT_TAG.match(token.content):
        return token.content
    text = _inline_piece(token)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\0", "<br>")
